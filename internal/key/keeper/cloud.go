package keeper

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"net/url"
	"os"
	"regexp"
	"strings"

	cloudkms "cloud.google.com/go/kms/apiv1"
	"gocloud.dev/secrets/awskms"
	"gocloud.dev/secrets/azurekeyvault"
	"gocloud.dev/secrets/gcpkms"
	"google.golang.org/api/option"
)

// openAWS opens awskms:///KEY, with the credentials and the region that the
// AWS tools find. Parameters: region, endpoint, profile, role, and context_X,
// which binds X to every wrapped key.
func openAWS(ctx context.Context, u *url.URL) (*Remote, error) {
	name := keyName(u)
	if name == "" {
		return nil, errors.New("the key is missing, as in awskms:///alias/keyturn or awskms:///arn:aws:kms:…")
	}
	k, err := new(awskms.URLOpener).OpenKeeperURL(ctx, u)
	if err != nil {
		return nil, err
	}
	identity := []string{"aws", name}
	if !strings.HasPrefix(name, "arn:") {
		identity = append(identity, cmp.Or(u.Query().Get("region"), os.Getenv("AWS_REGION"), os.Getenv("AWS_DEFAULT_REGION")))
	}
	return newRemote(shown(u), strings.Join(identity, "\n"), "check the AWS credentials, and that they may kms:Encrypt and kms:Decrypt with the key", k), nil
}

// gcpPattern is what names a key of Cloud KMS.
var gcpPattern = regexp.MustCompile(`^projects/[^/]+/locations/[^/]+/keyRings/[^/]+/cryptoKeys/[^/]+$`)

// openGCP opens gcpkms://projects/…, with Google's application default
// credentials.
func openGCP(ctx context.Context, u *url.URL) (*Remote, error) { return dialGCP(ctx, u) }

func dialGCP(ctx context.Context, u *url.URL, options ...option.ClientOption) (*Remote, error) {
	name := keyName(u)
	if !gcpPattern.MatchString(name) || u.RawQuery != "" {
		return nil, errors.New("want gcpkms://projects/P/locations/L/keyRings/R/cryptoKeys/K")
	}
	// The connection outlives ctx, which bounds the search for credentials.
	client, err := cloudkms.NewKeyManagementClient(ctx, options...)
	if err != nil {
		return nil, fmt.Errorf("preparing to call Cloud KMS: %w (set GOOGLE_APPLICATION_CREDENTIALS, or run where a service account is)", err)
	}
	hint := "check Google's credentials, and that they have the role roles/cloudkms.cryptoKeyEncrypterDecrypter on the key"
	return newRemote(shown(u), "gcp\n"+name, hint, gcpkms.OpenKeeper(client, name, nil)), nil
}

// azurePattern is what names a version of a key in a Key Vault. The version
// is needed: a wrapped key does not say which one made it.
var azurePattern = regexp.MustCompile(`^[^/]+\.vault\.[^/]+/keys/[^/]+/[^/]+$`)

// openAzure opens azurekeyvault://HOST/keys/KEY/VERSION, with the credentials
// that Azure's tools take from the environment. The key is wrapped by
// RSA-OAEP-256.
func openAzure(ctx context.Context, u *url.URL) (*Remote, error) {
	return dialAzure(ctx, u, azurekeyvault.DefaultClientMaker)
}

func dialAzure(_ context.Context, u *url.URL, dial azurekeyvault.ClientMakerT) (*Remote, error) {
	name := keyName(u)
	if !azurePattern.MatchString(name) || u.RawQuery != "" {
		return nil, errors.New("want azurekeyvault://NAME.vault.azure.net/keys/KEY/VERSION: the version too, which wrapped keys do not name")
	}
	k, err := azurekeyvault.OpenKeeper(dial, "https://"+name, nil)
	if err != nil {
		return nil, err
	}
	return newRemote(shown(u), "azure\n"+name, "check Azure's credentials, and that they may encrypt and decrypt with the key", k), nil
}
