package rehearse

import "github.com/keyturn/keyturn/internal/plaintext"

// Canaries are the secrets that reports must not hold, in every form in which
// they may be written.
func (r *Report) Canaries() (all []string) {
	for _, secret := range r.canaries {
		all = append(all, plaintext.Forms(secret)...)
	}
	return all
}
