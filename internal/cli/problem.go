package cli

import (
	"context"
	"errors"
	"fmt"
	"net/url"
	"os"
	"strings"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/config"
	"github.com/aws/smithy-go"
	"github.com/aws/smithy-go/logging"

	"github.com/keyturn/keyturn/internal/rotate"
)

// awsConfig reads the configuration of AWS's tools. For the credentials of a
// role the SDK asks AWS, even if the environment names one endpoint for
// everything, unless it names one for STS as well: here that is the same.
func awsConfig(ctx context.Context) (aws.Config, error) {
	cfg, err := config.LoadDefaultConfig(ctx, config.WithLogger(logging.Nop{}))
	if err == nil && cfg.BaseEndpoint != nil && os.Getenv(stsEndpoint) == "" {
		if err = os.Setenv(stsEndpoint, *cfg.BaseEndpoint); err == nil {
			cfg, err = config.LoadDefaultConfig(ctx, config.WithLogger(logging.Nop{}))
		}
	}
	if err != nil {
		return cfg, fmt.Errorf("reading the AWS configuration: %w", err)
	}
	return cfg, nil
}

const stsEndpoint = "AWS_ENDPOINT_URL_STS"

// needCredentials refuses a configuration that leads to none.
func needCredentials(ctx context.Context, cfg *aws.Config) error {
	if cfg.Credentials == nil {
		return errNoCredentials
	}
	_, err := cfg.Credentials.Retrieve(ctx)
	switch {
	case err == nil || ctx.Err() != nil:
		return ctx.Err()
	case strings.Contains(err.Error(), "EC2 IMDS"): // where the SDK's search ends
		return errNoCredentials
	}
	return fmt.Errorf("getting credentials: %w", err)
}

var errNoCredentials = errors.New(`no credentials: set AWS_ACCESS_KEY_ID and AWS_SECRET_ACCESS_KEY, as with eval "$(keyturn env)", or AWS_PROFILE`)

// problem is what people get to read of an error. In place of the SDK's report
// on a request it has what the service said, or that nobody did.
func problem(err error) string { return rotate.Plain(said(err)) }

func said(err error) string {
	text := err.Error()
	call, isCall := errors.AsType[*smithy.OperationError](err)
	if answer, ok := errors.AsType[smithy.APIError](err); ok && isCall {
		return strings.Replace(text, call.Error(), answer.ErrorCode()+": "+answer.ErrorMessage(), 1)
	}
	sent, ok := errors.AsType[*url.Error](err)
	if !ok {
		return text
	}
	whole := sent.Error()
	if isCall {
		whole = call.Error()
	}
	return strings.Replace(text, whole, fmt.Sprintf("no answer from %s: %v; does the server run there?", strings.TrimSuffix(sent.URL, "/"), sent.Err), 1)
}
