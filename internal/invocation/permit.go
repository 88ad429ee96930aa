package invocation

import (
	"context"
	"log/slog"
	"time"

	"github.com/keyturn/keyturn/internal/authz"
	"github.com/keyturn/keyturn/internal/fault"
	"github.com/keyturn/keyturn/internal/iam"
	"github.com/keyturn/keyturn/internal/loggroup"
	"github.com/keyturn/keyturn/internal/store"
	"github.com/keyturn/keyturn/internal/wire"
)

// permit decides what functions may log: what their roles may write. It is
// asked for each batch of a stream, not for each line.
type permit struct {
	guard *authz.Guard
	// principal is Config.Principal.
	principal func(ctx context.Context, accessKeyID, token string) (iam.Principal, error)
	// told holds the groups whose refusal the server's log has; who flushes
	// holds the lock.
	told map[string]bool
}

// writers returns who writes each stream. The zero Principal is nobody: the
// role is gone or the session over.
func (p *permit) writers(ctx context.Context, batch map[stream][]pendingEntry) (map[stream]iam.Principal, error) {
	writers := make(map[stream]iam.Principal, len(batch))
	for s := range batch {
		who, err := p.principal(ctx, s.accessKeyID, s.token)
		switch kind := fault.KindOf(err); {
		case kind == fault.Internal || kind == fault.Unavailable:
			return nil, err
		case err == nil:
			writers[s] = who
		}
	}
	return writers, nil
}

// write authorises what Lambda does with the function's role to log: it makes
// the group and the stream if they are missing, and puts the events (AWS
// docs). The error is fault.Denied with AWS's text.
func (p *permit) write(tx *store.Tx, s stream, who iam.Principal) error {
	if loggroup.Reserved(s.group) {
		return fault.New(fault.Denied, "Log groups whose names start with /keyturn/ are written by the server alone.")
	}
	call := &wire.Call{Service: "logs", Operation: "PutLogEvents", Region: s.region, Account: s.account, Time: time.Now(), Principal: who, Secure: true}
	group := &loggroup.Group{Account: s.account, Region: s.region, Name: s.group}
	found, err := tx.LogGroup(s.account, s.region, s.group)
	switch {
	case err == nil:
		group = found
	case !fault.Is(err, fault.NotFound):
		return err
	default:
		if err := p.on(call, "logs:CreateLogGroup", group, ""); err != nil {
			return err
		}
	}
	_, err = tx.LogStream(group.ID, s.name)
	if fault.Is(err, fault.NotFound) {
		err = p.on(call, "logs:CreateLogStream", group, s.name)
	}
	if err != nil {
		return err
	}
	return p.on(call, "logs:PutLogEvents", group, s.name)
}

func (p *permit) on(call *wire.Call, action string, g *loggroup.Group, stream string) error {
	return p.guard.On(call, action, &authz.Resource{
		ARN: g.StreamARN(stream), Account: g.Account, Context: iam.TagContext("aws:resourcetag/", "", g.Tags),
	})
}

// maxTold bounds the groups that are remembered.
const maxTold = 1024

// note says once for each group in the server's log why it stays empty: the
// function runs all the same.
func (p *permit) note(logger *slog.Logger, s stream, cause error) {
	key := s.account + " " + s.region + " " + s.group
	if p.told[key] {
		return
	}
	if p.told == nil || len(p.told) >= maxTold {
		p.told = map[string]bool{}
	}
	p.told[key] = true
	logger.Warn("a function runs without a log, as its role may not write it", "account", s.account, "region", s.region, "group", s.group, "error", cause)
}
