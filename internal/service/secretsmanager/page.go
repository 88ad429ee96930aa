package secretsmanager

import (
	"encoding/base64"
	"encoding/json"

	"github.com/keyturn/keyturn/internal/fault"
	"github.com/keyturn/keyturn/internal/wire"
)

// maxPage is the largest page, and the size of one when the caller names
// none (AWS service model; the default assumed).
const maxPage = 100

func pageSize(asked *int64, most int) int {
	if asked == nil {
		return most
	}
	return int(*asked)
}

// pager makes and reads the tokens of one operation with one set of
// parameters. A token is a sealed position: it opens only for the same
// operation, account, region and parameters, on every node and for good.
type pager struct {
	service *Service
	purpose string
}

// newPager returns the pager of a call; parameters are what a later page must
// ask for again, the size of pages aside.
func (s *Service) newPager(call *wire.Call, operation string, parameters ...any) (pager, error) {
	b, err := json.Marshal(append(parameters, call.Principal.Account, call.Region, operation))
	return pager{s, "page token " + string(b)}, err
}

// token seals a position.
func (p pager) token(position any) (*string, error) {
	b, err := json.Marshal(position)
	if err != nil {
		return nil, err
	}
	return new(base64.RawURLEncoding.EncodeToString(p.service.Sealer.Seal(p.purpose, b))), nil
}

// read opens a token into the position; nothing for no token.
func (p pager) read(token *string, position any) error {
	if token == nil {
		return nil
	}
	sealed, err := base64.RawURLEncoding.DecodeString(*token)
	if err != nil {
		return errPageToken().Because(err)
	}
	b, err := p.service.Sealer.Open(p.purpose, sealed)
	if err != nil {
		return errPageToken().Because(err)
	}
	if err := json.Unmarshal(b, position); err != nil {
		return errPageToken().Because(err)
	}
	return nil
}

// errPageToken is the answer to a NextToken that this operation did not give
// for these parameters; AWS's text is not known.
func errPageToken() *fault.Error {
	return fault.New(fault.PageToken, "The NextToken value is invalid.")
}
