package key

import "context"

// NewWrappedKey makes a 32-byte key for a purpose of the server's own and
// wraps it with the keeper together with the purpose, so that it opens for no
// other. The caller clears raw. Errors are internal faults.
func NewWrappedKey(ctx context.Context, k Keeper, purpose string) (raw, wrapped []byte, err error) {
	if wrapped, err = wrapNewKey(ctx, k, purpose); err != nil {
		return nil, nil, err
	}
	raw, err = unwrapKey(ctx, k, purpose, wrapped)
	return raw, wrapped, err
}

// UnwrapKey opens what NewWrappedKey wrapped for the purpose. The caller
// clears the result. Errors are internal faults; ErrWrongRootKey is in the
// chain when another root key wrapped it.
func UnwrapKey(ctx context.Context, k Keeper, purpose string, wrapped []byte) ([]byte, error) {
	return unwrapKey(ctx, k, purpose, wrapped)
}
