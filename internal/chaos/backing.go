package main

import (
	"context"
	"errors"
	"fmt"
	"net"
	"strconv"
	"time"

	"github.com/jackc/pgx/v5"

	"github.com/keyturn/keyturn/internal/pgserver"
	"github.com/keyturn/keyturn/internal/store"
	"github.com/keyturn/keyturn/internal/store/postgres"
)

// backing is the PostgreSQL that servers store in: one, or a primary and a
// standby that confirms every commit before it is acknowledged.
type backing struct {
	primary, standby *pgserver.Server
	store            *store.Store
}

func newBacking(ctx context.Context, standby bool) (b *backing, err error) {
	b = &backing{}
	if b.primary, err = pgserver.Start(ctx, pgserver.Config{Durable: true}); err != nil {
		return nil, err
	}
	if standby {
		err = b.follow(ctx, func() (err error) {
			b.standby, err = b.primary.Standby(ctx)
			return err
		})
	}
	if err != nil {
		return nil, errors.Join(err, b.close())
	}
	return b, nil
}

// follow lets a standby join, waits until it streams, and has commits wait
// for it from then on.
func (b *backing) follow(ctx context.Context, join func() error) error {
	if err := join(); err != nil {
		return err
	}
	conn, err := pgx.Connect(ctx, b.primary.AdminURL())
	if err != nil {
		return err
	}
	defer conn.Close(ctx)
	for {
		var n int
		if err := conn.QueryRow(ctx, "SELECT count(*) FROM pg_stat_replication WHERE state = 'streaming'").Scan(&n); err != nil {
			return err
		}
		if n > 0 {
			break
		}
		pause(ctx, 20*time.Millisecond)
	}
	for _, statement := range []string{"ALTER SYSTEM SET synchronous_standby_names = '*'", "SELECT pg_reload_conf()"} {
		if _, err := conn.Exec(ctx, statement); err != nil {
			return err
		}
	}
	for {
		var state string
		if err := conn.QueryRow(ctx, "SELECT coalesce(max(sync_state), '') FROM pg_stat_replication").Scan(&state); err != nil || state == "sync" {
			return err
		}
		pause(ctx, 20*time.Millisecond)
	}
}

// url names both servers; whoever connects gets the one that takes writes.
func (b *backing) url() string {
	if b.standby == nil {
		return b.primary.AdminURL()
	}
	hosts := ""
	for _, s := range []*pgserver.Server{b.primary, b.standby} {
		hosts += "," + net.JoinHostPort(s.Host, strconv.Itoa(s.Port))
	}
	return fmt.Sprintf("postgres://%s:%s@%s/postgres?sslmode=disable&target_session_attrs=read-write", pgserver.Superuser, b.primary.Password, hosts[1:])
}

// open opens the store for looks of our own; the servers have made it.
func (b *backing) open(ctx context.Context) (err error) {
	b.store, err = postgres.Open(ctx, postgres.Config{URL: b.url(), Connections: 2, Cache: -1})
	return err
}

func (b *backing) close() error {
	var errs []error
	if b.store != nil {
		errs = append(errs, b.store.Close())
	}
	for _, s := range []*pgserver.Server{b.standby, b.primary} {
		if s != nil {
			errs = append(errs, s.Close())
		}
	}
	return errors.Join(errs...)
}

// restart ends the database at once, as a crash does, and starts it again.
func (b *backing) restart(ctx context.Context) error {
	if err := b.primary.Kill(); err != nil {
		return err
	}
	return b.primary.Restart(ctx)
}

// failOver ends the primary for good: the standby takes its place, and gets a
// new standby where the old primary was.
func (b *backing) failOver(ctx context.Context) error {
	if err := b.primary.Kill(); err != nil {
		return err
	}
	if err := b.standby.Promote(ctx); err != nil {
		return err
	}
	b.primary, b.standby = b.standby, b.primary
	return b.follow(ctx, func() error { return b.standby.Rejoin(ctx, b.primary) })
}
