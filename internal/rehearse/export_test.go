package rehearse

// Canaries are the secrets that reports must not hold, in every form in which
// they may be written.
func (r *Report) Canaries() (all []string) {
	for _, secret := range r.canaries {
		all = append(all, forms(secret)...)
	}
	return all
}
