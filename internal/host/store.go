package host

import (
	"context"
	"crypto/tls"
	"crypto/x509"
	"errors"
	"fmt"
	"net"
	"os"
	"syscall"
	"time"

	"github.com/keyturn/keyturn/internal/store"
	"github.com/keyturn/keyturn/internal/store/postgres"
	"github.com/keyturn/keyturn/internal/store/sqlite"
)

// store looks at the database: whether it answers, by whom it was made, and
// what time it has.
func (x *examiner) store(ctx context.Context) []Check {
	ctx, cancel := context.WithTimeout(ctx, patience)
	defer cancel()
	if x.StoreURL != "" {
		look, err := postgres.Peek(ctx, x.StoreURL)
		if err != nil {
			return one("H17", "store", Finding, err.Error(), "The server does not start; one that runs answers reads from memory for up to 5 seconds, and then none.",
				"Check that PostgreSQL runs there, that this machine may connect, and the user, password and database of --store.")
		}
		return append(schema(look), drift(look)...)
	}
	look, err := sqlite.Peek(ctx, x.Dir)
	switch {
	case sqlite.IsMissing(err):
		return one("H17", "store", Note, "there is none yet: the first start makes "+sqlite.DatabaseFile(x.Dir), "")
	case err != nil:
		return one("H17", "store", Finding, err.Error(), "The server does not start.",
			"Check that this user may read the database. If it is damaged, restore a backup: docs/backup.md.")
	}
	return schema(look)
}

// schema compares the database's with the program's.
func schema(look store.Look) []Check {
	known := store.Schema()
	text := fmt.Sprintf("%s, schema %d; this program has %d", look.Server, look.Schema, known)
	switch {
	case look.Schema > known:
		return one("H17", "store", Finding, text, "A newer keyturn made it, and this one refuses to open it.", "Use that version, or restore a backup of before the upgrade.")
	case look.Schema == 0:
		return one("H17", "store", Note, text, "It is empty: the first start makes the schema.")
	case look.Schema < known:
		return one("H17", "store", Note, text, "The next start migrates it, and after that older programs refuse it.", "Make a backup first: docs/backup.md.")
	}
	return one("H17", "store", OK, text, "")
}

// mostDrift is how much clocks of nodes may differ: leases and schedules
// allow for it.
const mostDrift = time.Minute

// drift compares this clock with the database's.
func drift(look store.Look) []Check {
	off := time.Since(look.Clock).Round(time.Millisecond)
	text := fmt.Sprintf("%v from PostgreSQL's, to within %v", off.Abs(), look.Error.Round(time.Millisecond))
	if off.Abs() > mostDrift+look.Error {
		return one("H18", "clock against the store", Finding, text, "Leases and schedules allow for a minute between nodes: a rotation could be taken over while it runs.",
			"Let both machines follow the same time servers: chronyc tracking, timedatectl status.")
	}
	return one("H18", "clock against the store", OK, text, "")
}

// clock tells whether the machine's clock follows others.
func (x *examiner) clock(context.Context) []Check {
	yes, known := synchronised()
	switch {
	case !known:
		return one("H18", "clock", Unknown, "whether it is synchronised is not known here", "")
	case yes:
		return one("H18", "clock", OK, "synchronised", "")
	}
	return one("H18", "clock", Note, "the kernel says that it is not synchronised",
		"Requests are refused whose signature is 5 minutes off, and schedules fire by this clock.",
		"Run chrony or systemd-timesyncd: timedatectl set-ntp true. In a virtual machine the host may keep the clock without the kernel's knowing.")
}

// soon is how long before its end a certificate is a finding.
const soon = 14 * 24 * time.Hour

// tls looks at the certificate.
func (x *examiner) tls(context.Context) []Check {
	if x.TLSCert == "" && x.TLSKey == "" {
		return nil
	}
	if x.TLSCert == "" || x.TLSKey == "" {
		return one("H19", "TLS", Finding, "--tls-cert and --tls-key go together, and one is missing", "The server does not start.")
	}
	pair, err := tls.LoadX509KeyPair(x.TLSCert, x.TLSKey)
	if err != nil {
		return one("H19", "TLS", Finding, err.Error(), "The server does not start.", "Give the certificate's chain and its own key, in PEM form, readable for the server's user.")
	}
	var checks []Check
	if info, err := os.Stat(x.TLSKey); err == nil && info.Mode().Perm()&0o077 != 0 {
		checks = one("H19", "TLS key", Finding, fmt.Sprintf("%s has mode %04o", x.TLSKey, info.Mode().Perm()), "Others of this machine can pose as the server.", "chmod 600 "+x.TLSKey)
	}
	return append(checks, x.expiry(pair.Leaf)...)
}

func (x *examiner) expiry(leaf *x509.Certificate) []Check {
	text := fmt.Sprintf("%s is good until %s", x.TLSCert, leaf.NotAfter.Format(time.DateOnly))
	switch left := leaf.NotAfter.Sub(x.now); {
	case left < 0:
		return one("H19", "TLS certificate", Finding, text, "It has ended, and clients refuse it.", "Renew it and restart the server.")
	case left < soon:
		return one("H19", "TLS certificate", Finding, text, "It ends soon; the server reads it when it starts.", "Renew it and restart the server.")
	case leaf.NotBefore.After(x.now):
		return one("H19", "TLS certificate", Finding, x.TLSCert+" is good from "+leaf.NotBefore.Format(time.DateOnly)+" on", "Clients refuse it until then.", "Check this machine's clock.")
	}
	return one("H19", "TLS certificate", OK, text, "")
}

// address looks at where clients are to connect.
func (x *examiner) address(ctx context.Context) []Check {
	host, _, err := net.SplitHostPort(x.Listen)
	if err != nil {
		return one("H20", "address", Finding, "--listen "+x.Listen+": "+err.Error(), "The server does not start.")
	}
	ip := net.ParseIP(host)
	loopback := host == "localhost" || ip != nil && ip.IsLoopback()
	checks := x.encryption(loopback)
	l, err := (&net.ListenConfig{}).Listen(ctx, "tcp", x.Listen)
	switch {
	case err == nil:
		_ = l.Close() // nobody has connected
		if x.running != 0 {
			checks = append(checks, one("H21", "port", Note, x.Listen+" is free although a server runs on the data folder: it was started with another --listen", "")...)
			break
		}
		checks = append(checks, one("H21", "port", OK, x.Listen+" is free", "")...)
	case x.running != 0 && errors.Is(err, syscall.EADDRINUSE):
		checks = append(checks, one("H21", "port", OK, x.Listen+" is in use, and a server runs", "")...)
	default:
		checks = append(checks, one("H21", "port", Finding, err.Error(), "The server does not start.",
			"Find who listens there with ss -ltnp, or choose another --listen. A port below 1024 takes CAP_NET_BIND_SERVICE.")...)
	}
	return checks
}

// encryption judges what can be read on the network.
func (x *examiner) encryption(loopback bool) []Check {
	switch {
	case loopback:
		return one("H20", "address", OK, x.Listen+" is loopback", "")
	case x.TLSCert != "":
		return one("H20", "address", OK, x.Listen+" with TLS", "")
	case x.InsecureHTTP:
		return one("H20", "address", Finding, x.Listen+" with plain HTTP", "Who can read the network between clients and this server reads the secrets. It is right only behind something on this machine that ends TLS.",
			"Give --tls-cert and --tls-key.")
	}
	return one("H20", "address", Finding, x.Listen+" without TLS", "The server does not start.", "Give --tls-cert and --tls-key, or --insecure-http if others may read the secrets on the network.")
}
