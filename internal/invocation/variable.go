package invocation

import (
	"context"
	"encoding/json"
	"errors"

	"github.com/keyturn/keyturn/internal/fault"
	"github.com/keyturn/keyturn/internal/function"
	"github.com/keyturn/keyturn/internal/key"
	"github.com/keyturn/keyturn/internal/store"
)

// variablePurpose separates sealed environment variables from whatever else
// is sealed, and those of one function from another's.
func variablePurpose(functionID string) string { return "function-environment/" + functionID }

// VariableContext is the encryption context of a function's environment
// variables under a KMS key (AWS docs).
func VariableContext(functionARN string) key.EncryptionContext {
	return key.EncryptionContext{"aws:lambda:FunctionArn": functionARN}
}

// VariableBox is what it takes to open the environment variables of a
// version: read in a transaction, opened after it. The zero VariableBox has
// none.
type VariableBox struct {
	functionID, functionARN string
	sealed                  []byte
	// key sealed them; nil for the server's own.
	key *key.Record
	// unusable is why the key cannot open them.
	unusable error
}

// BoxVariables returns the sealed environment variables of a version.
func (i *Invoker) BoxVariables(tx *store.Tx, f *function.Function, c *function.Config) (VariableBox, error) {
	box := VariableBox{functionID: f.ID, functionARN: f.ARN(), sealed: c.Environment}
	if c.Environment == nil || c.EnvironmentKey == "" {
		return box, nil
	}
	rec, err := i.cfg.Guard.KeyIn(tx, f.Account, f.Region, c.EnvironmentKey)
	switch kind := fault.KindOf(err); kind {
	case fault.Internal, fault.Unavailable:
		return box, err
	default:
		box.key, box.unusable = rec, unusable(kind, err)
	}
	return box, nil
}

// unusable returns Lambda's words for a key that cannot be used (AWS docs;
// texts after the one on denied access, which is recorded); nil for one that
// can.
func unusable(kind fault.Kind, cause error) error {
	text := "Lambda was unable to decrypt the environment variables because "
	const advice = ". Please check the function's KMS key settings."
	switch kind {
	case "":
		return nil
	case key.KeyDisabled:
		return fault.New(function.KeyDisabled, "%sthe KMS key used is disabled%s", text, advice).Because(cause)
	case key.KeyState:
		return fault.New(function.KeyState, "%sthe state of the KMS key used is not valid for Decrypt%s", text, advice).Because(cause)
	}
	return fault.New(function.KeyNotFound, "%sthe KMS key was not found%s", text, advice).Because(cause)
}

// Key returns the KMS key that sealed the variables, or nil, and why it
// cannot open them, or nil.
func (b *VariableBox) Key() (rec *key.Record, unusable error) { return b.key, b.unusable }

// OpenVariables opens environment variables; nil when none were given. A KMS
// key that cannot be used is an error of the kinds function.KeyDisabled,
// KeyState and KeyNotFound.
func (i *Invoker) OpenVariables(ctx context.Context, b VariableBox) (variables map[string]string, err error) {
	if b.sealed == nil {
		return nil, nil
	}
	if b.unusable != nil {
		return nil, b.unusable
	}
	var plain []byte
	if b.key == nil {
		plain, err = i.cfg.Sealer.Open(variablePurpose(b.functionID), b.sealed)
	} else {
		plain, err = i.cfg.Keys.Open(ctx, b.key, VariableContext(b.functionARN), b.sealed)
	}
	if err != nil {
		return nil, &fault.Error{Kind: fault.Internal, Cause: err}
	}
	err = json.Unmarshal(plain, &variables)
	return variables, fault.Wrap(err, "reading environment variables")
}

// SealVariables makes the variables those of the live configuration of f,
// under its KMS key if it has one.
func (i *Invoker) SealVariables(ctx context.Context, tx *store.Tx, f *function.Function, variables map[string]string) error {
	plain, err := json.Marshal(variables)
	if err != nil {
		return fault.Wrap(err, "encoding environment variables")
	}
	c := &f.Config
	if c.KMSKeyARN == "" {
		c.Environment, c.EnvironmentKey = i.cfg.Sealer.Seal(variablePurpose(f.ID), plain), ""
		return nil
	}
	rec, err := i.cfg.Guard.KeyIn(tx, f.Account, f.Region, c.KMSKeyARN)
	if err != nil {
		return InvalidKey(err)
	}
	sealed, err := i.cfg.Keys.Seal(ctx, rec, VariableContext(f.ARN()), plain)
	if err != nil {
		return InvalidKey(err)
	}
	c.Environment, c.EnvironmentKey = sealed, c.KMSKeyARN
	return nil
}

// InvalidKey returns Lambda's words for a KMS key that cannot seal
// environment variables (AWS: reported in part); other errors stay.
func InvalidKey(cause error) error {
	e, ok := errors.AsType[*fault.Error](cause)
	if !ok || e.Kind != fault.Parameter && e.Kind != key.KeyDisabled && e.Kind != key.KeyState {
		return cause
	}
	return fault.New(fault.Parameter, "Lambda was unable to configure access to your environment variables because the KMS key is invalid for CreateGrant. "+
		"Please check your KMS key settings. KMS Message: %s", e.Message).Because(cause)
}

// WarmKey makes the material of a key ready, so that sealing in a transaction
// does not leave the machine.
func (i *Invoker) WarmKey(ctx context.Context, rec *key.Record) error {
	_, err := i.cfg.Keys.Encrypt(ctx, rec, nil, nil)
	return err
}
