package sqlserver

import (
	"context"
	"crypto/tls"
	"crypto/x509"
	"errors"
	"net"
	"strings"
	"time"

	"github.com/keyturn/keyturn/internal/rotator"
)

// dialer makes the driver's connection. It keeps to the attempt's deadline,
// which the driver does not once it is connected, and remembers the errors of
// which the driver keeps only the text.
type dialer struct {
	host string
	conn net.Conn
	stop func() bool
	// err is why there is no connection, or no trust in its certificate.
	err error
}

// HostName implements mssql.HostDialer, which makes the driver leave the
// look-up of names to the dialer.
func (d *dialer) HostName() string { return d.host }

// DialContext implements mssql.Dialer.
func (d *dialer) DialContext(ctx context.Context, network, address string) (net.Conn, error) {
	if d.stop != nil {
		d.stop() // the server has sent the driver on to another one
	}
	d.conn, d.err = (&net.Dialer{}).DialContext(ctx, network, address)
	if d.err != nil {
		return nil, d.err
	}
	conn := d.conn
	d.stop = context.AfterFunc(ctx, func() { _ = conn.SetDeadline(time.Unix(1, 0)) }) // a closed one needs none
	return conn, nil
}

// established ends the attempt's deadline.
func (d *dialer) established() error {
	if !d.stop() {
		return rotator.NewFailure(rotator.CauseTimeout, "", "no answer in time", context.DeadlineExceeded)
	}
	return nil
}

// verifying is a configuration that verifies as the other one does, and
// remembers the error.
func (d *dialer) verifying(secure *tls.Config) *tls.Config {
	cfg := secure.Clone()
	cfg.InsecureSkipVerify = true // VerifyConnection does what this leaves out
	cfg.VerifyConnection = func(state tls.ConnectionState) error {
		name := state.ServerName
		if name == "" { // addresses are not sent as names
			name = secure.ServerName
		}
		options := x509.VerifyOptions{Roots: secure.RootCAs, DNSName: name, Intermediates: x509.NewCertPool()}
		for _, c := range state.PeerCertificates[1:] {
			options.Intermediates.AddCert(c)
		}
		if _, err := state.PeerCertificates[0].Verify(options); err != nil {
			d.err = &tls.CertificateVerificationError{UnverifiedCertificates: state.PeerCertificates, Err: err}
		}
		return d.err
	}
	return cfg
}

// classify makes a failure out of the error of a login.
func (d *dialer) classify(ctx context.Context, err error) *rotator.Failure {
	if d.stop != nil {
		d.stop()
	}
	text := err.Error()
	switch {
	case d.err != nil:
		return rotator.Classify(d.err)
	case ctx.Err() != nil:
		return rotator.Classify(errors.Join(context.DeadlineExceeded, err))
	case strings.Contains(text, "server does not support encryption"):
		return rotator.NewFailure(rotator.CauseTLS, "", "SSL/TLS is not enabled on the server", err)
	case strings.Contains(text, "TLS Handshake failed"):
		_, why, _ := strings.Cut(text, "TLS Handshake failed: ")
		return rotator.NewFailure(rotator.CauseTLS, "", "SSL/TLS handshake failed: "+why, err)
	}
	return classify(err, true)
}
