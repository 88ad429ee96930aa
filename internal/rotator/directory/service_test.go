package directory_test

import (
	"bytes"
	"context"
	"encoding/base64"
	"encoding/json"
	"fmt"
	"net/http"
	"net/http/httptest"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/aws/aws-sdk-go-v2/service/secretsmanager"
	"github.com/go-ldap/ldap/v3"
	"github.com/jcmturner/gokrb5/v8/crypto"
	"github.com/jcmturner/gokrb5/v8/keytab"

	"github.com/keyturn/keyturn/internal/rotator"
	"github.com/keyturn/keyturn/internal/rotator/rotatortest"
)

// directoryServiceDouble speaks the two operations of AWS Directory Service
// that rotation needs. It stands before a real domain: what it resets is reset
// there.
type directoryServiceDouble struct {
	*httptest.Server
	domain *samba
	t      testing.TB
}

// The directories that the double has.
const (
	directoryID        = "d-1234567890"
	otherDirectoryID   = "d-1234567891" // of the same domain
	desertedDirectory  = "d-1234567892" // whose controllers are gone
	directoryOperation = "DirectoryService_20150416."
)

func newDirectoryServiceDouble(t testing.TB, domain *samba) *directoryServiceDouble {
	d := &directoryServiceDouble{domain: domain, t: t}
	d.Server = httptest.NewServer(d)
	t.Cleanup(d.Close)
	return d
}

func (d *directoryServiceDouble) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	var in struct {
		DirectoryIds                       []string
		DirectoryId, UserName, NewPassword string
	}
	if err := json.NewDecoder(r.Body).Decode(&in); err != nil {
		d.fail(w, "ClientException", err.Error())
		return
	}
	switch r.Header.Get("X-Amz-Target") {
	case directoryOperation + "DescribeDirectories":
		d.describe(w, in.DirectoryIds)
	case directoryOperation + "ResetUserPassword":
		d.reset(w, in.UserName, in.NewPassword)
	default:
		d.fail(w, "UnsupportedOperationException", "not doubled")
	}
}

func (d *directoryServiceDouble) describe(w http.ResponseWriter, ids []string) {
	address := d.domain.host
	switch id := ids[0]; id {
	case directoryID, otherDirectoryID:
	case desertedDirectory:
		address = "127.0.0.1"
	default:
		d.fail(w, "EntityDoesNotExistException", "Directory "+id+" does not exist")
		return
	}
	d.answer(w, map[string]any{"DirectoryDescriptions": []any{
		map[string]any{"DirectoryId": ids[0], "Name": strings.ToLower(adRealm), "DnsIpAddrs": []string{address}, "Stage": "Active"},
	}})
}

func (d *directoryServiceDouble) reset(w http.ResponseWriter, user, password string) {
	conn, err := d.domain.as(d.t, adAdministrator+"@"+adRealm, adPassword)
	if err != nil {
		d.fail(w, "DirectoryUnavailableException", err.Error())
		return
	}
	defer conn.Close()
	switch err := d.domain.tryReset(conn, user, password); {
	case err == nil:
		d.answer(w, map[string]any{})
	case strings.Contains(err.Error(), "0000052D"):
		d.fail(w, "InvalidPasswordException", "The password does not meet the policy")
	default:
		d.fail(w, "UserDoesNotExistException", "The user does not exist")
	}
}

func (d *directoryServiceDouble) answer(w http.ResponseWriter, out any) {
	w.Header().Set("Content-Type", "application/x-amz-json-1.1")
	if err := json.NewEncoder(w).Encode(out); err != nil {
		d.t.Errorf("answering: %v", err)
	}
}

func (d *directoryServiceDouble) fail(w http.ResponseWriter, code, message string) {
	w.Header().Set("Content-Type", "application/x-amz-json-1.1")
	w.WriteHeader(http.StatusBadRequest)
	fmt.Fprintf(w, `{"__type": %q, "Message": %q}`, code, message)
}

// newServiceUser makes a user whose secret is one of AWS Directory Service.
func newServiceUser(t testing.TB, s *samba) *rotatortest.Target {
	t.Helper()
	name := rotatortest.Unique("Zoe {svc}")
	dn := s.addUser(t, name, firstPassword)
	return &rotatortest.Target{
		Secret: map[string]any{
			"awsSeamlessDomainDirectoryId": directoryID, "awsSeamlessDomainUsername": name, "awsSeamlessDomainPassword": firstPassword,
		},
		Sensitive: []string{"awsSeamlessDomainPassword"},
		Login: func(_ context.Context, secret map[string]any) error {
			conn, err := s.as(t, dn, secret["awsSeamlessDomainPassword"].(string))
			if err != nil {
				return err
			}
			return conn.Close()
		},
	}
}

func changed(key string, value any) func(map[string]any) {
	return func(secret map[string]any) { secret[key] = value }
}

func testDirectoryService(t *testing.T, s *samba) {
	double := newDirectoryServiceDouble(t, s)
	rotatortest.Suite{
		Rotator:     "directoryservice.single",
		New:         func(t testing.TB) *rotatortest.Target { return newServiceUser(t, s) },
		Environment: map[string]string{"AWS_ENDPOINT_URL_DIRECTORY_SERVICE": double.URL},
		NoKills:     true, // those of the one with keytabs are these and more
		Faults: alone([]rotatortest.Fault{{
			Name: "wrong password", Step: "createSecret", Cause: rotator.CauseAuthentication, Lockout: true,
			Change: changed("awsSeamlessDomainPassword", "not-the-password"),
		}, {
			Name: "user missing", Step: "createSecret", Cause: rotator.CauseMissingUser, Lockout: true,
			Change: changed("awsSeamlessDomainUsername", "nobody"),
		}, {
			Name: "no controller", Step: "createSecret", Cause: rotator.CauseTCP, Lockout: true,
			Change: changed("awsSeamlessDomainDirectoryId", desertedDirectory),
		}, {
			Name: "account disabled", Step: "createSecret", Cause: rotator.CauseLocked, Lockout: true,
			Break: func(t testing.TB, target *rotatortest.Target) func() {
				dn := s.dnOf(t, target.Secret["awsSeamlessDomainUsername"].(string))
				s.set(t, dn, "userAccountControl", "514")
				return func() { s.set(t, dn, "userAccountControl", "512") }
			},
		}, {
			Name: "password policy", Step: "setSecret", Cause: rotator.CausePolicy,
			Break: func(t testing.TB, target *rotatortest.Target) func() {
				return s.policy(t, s.dnOf(t, target.Secret["awsSeamlessDomainUsername"].(string)), "100", "0")
			},
		}}),
	}.Run(t)
}

// keytabMaker makes a keytab of an account for principals.
type keytabMaker func(t testing.TB, user, password string, principals []string) []byte

// withKeytabs lets two keytab secrets follow a target's: one of the account
// and one of a service that runs as it.
func withKeytabs(t testing.TB, s *samba, target *rotatortest.Target, user, passwordKey string, keytab keytabMaker) *rotatortest.Target {
	service := "HTTP/" + strings.ToLower(rotatortest.Unique("web")) + ".keyturn.test"
	s.set(t, s.dnOf(t, user), "servicePrincipalName", service)
	target.Changes = []string{"lastModifiedDateTime", "directoryServiceSecretVersion", "keytabArns"}
	target.Secret["schemaVersion"], target.Secret["directoryServiceSecretVersion"] = "1.0", 1
	groups := [][]string{{user}, {service, user}}
	target.Others = func(value map[string]any, create func(string, map[string]any) string) {
		var arns []string
		for _, principals := range groups {
			contents := keytab(t, user, value[passwordKey].(string), principals)
			arns = append(arns, create(rotatortest.Unique("keytab"), map[string]any{
				"schemaVersion": "1.0", "name": "keytab", "principals": principals, "version": 1,
				"keytabContents": base64.StdEncoding.EncodeToString(contents),
			}))
		}
		value["keytabArns"] = arns
	}
	target.Check = func(t testing.TB, w *rotatortest.World) {
		t.Helper()
		main := w.Value("AWSCURRENT")
		for i, arn := range main["keytabArns"].([]any) {
			contents := keytab(t, user, main[passwordKey].(string), groups[i])
			checkKeytab(t, w, arn.(string), contents, main["directoryServiceSecretVersion"])
		}
	}
	return target
}

// makeKeytab makes a keytab by the rules of Active Directory: the salt is the
// realm and the account's name, and the directory tells the version.
func (s *samba) makeKeytab(t testing.TB, user, password string, principals []string) []byte {
	t.Helper()
	kvno, err := strconv.Atoi(s.search(t, adSuffix, "(sAMAccountName="+ldap.EscapeFilter(user)+")").GetAttributeValue("msDS-KeyVersionNumber"))
	if err != nil {
		t.Fatal(err)
	}
	kt := keytab.New()
	for _, etype := range []int32{18, 17} {
		et, err := crypto.GetEtype(etype)
		if err != nil {
			t.Fatal(err)
		}
		key, err := et.StringToKey(password, adRealm+user, et.GetDefaultStringToKeyParams())
		if err != nil {
			t.Fatal(err)
		}
		for _, p := range principals {
			if err := kt.AddEntry(p, adRealm, password, time.Now(), uint8(kvno), etype); err != nil {
				t.Fatal(err)
			}
			kt.Entries[len(kt.Entries)-1].Key.KeyValue = key
		}
	}
	b, err := kt.Marshal()
	if err != nil {
		t.Fatal(err)
	}
	return b
}

// checkKeytab demands that a keytab secret's current version holds the keys
// that the domain has for its principals.
func checkKeytab(t testing.TB, w *rotatortest.World, arn string, exported []byte, version any) {
	t.Helper()
	out, err := w.Secrets.GetSecretValue(t.Context(), &secretsmanager.GetSecretValueInput{SecretId: &arn})
	if err != nil {
		t.Fatal(err)
	}
	main, err := w.Secrets.GetSecretValue(t.Context(), &secretsmanager.GetSecretValueInput{SecretId: &w.ARN})
	if err != nil {
		t.Fatal(err)
	}
	if *out.VersionId != *main.VersionId {
		t.Errorf("the keytab secret's current version is %s, and the main secret's %s", *out.VersionId, *main.VersionId)
	}
	var value struct {
		KeytabContents       []byte
		Version              float64
		LastModifiedDateTime string
	}
	if err := json.Unmarshal([]byte(*out.SecretString), &value); err != nil {
		t.Fatal("the keytab secret's value is not JSON of its kind")
	}
	if value.Version != version.(float64) || value.LastModifiedDateTime == "" {
		t.Errorf("got version %v modified at %q, want version %v and a time", value.Version, value.LastModifiedDateTime, version)
	}
	got, want := keysOf(t, value.KeytabContents), keysOf(t, exported)
	for key := range want {
		if !slices.Contains([]string{"18", "17"}, strings.Fields(key)[0]) {
			continue // the old keytab's further types follow only while the domain has them
		}
		if !got[key] {
			t.Errorf("the keytab lacks a key of the domain's: %s", strings.Join(strings.Fields(key)[:3], " "))
		}
	}
	if len(want) == 0 {
		t.Error("the domain exported no key")
	}
}

// keysOf lists a keytab's keys by type, version, principal and value.
func keysOf(t testing.TB, contents []byte) map[string]bool {
	t.Helper()
	kt := keytab.New()
	if err := kt.Unmarshal(contents); err != nil {
		t.Fatal("the keytab cannot be read")
	}
	keys := map[string]bool{}
	for _, e := range kt.Entries {
		keys[fmt.Sprintf("%d %d %q %x", e.Key.KeyType, e.KVNO, e.Principal.String(), e.Key.KeyValue)] = true
	}
	return keys
}

// exportKeytab lets the domain itself write a keytab.
func (s *samba) exportKeytab(t testing.TB, _, _ string, principals []string) []byte {
	t.Helper()
	file := filepath.Join(t.TempDir(), "keytab")
	for _, p := range principals {
		out, err := exec.Command("samba-tool", "domain", "exportkeytab", file, "--principal="+p,
			"--configfile="+filepath.Join(s.dir, "smb.conf")).CombinedOutput()
		if err != nil {
			t.Fatalf("exporting the keytab of %s: %v: %s", p, err, out)
		}
	}
	b, err := os.ReadFile(file)
	if err != nil {
		t.Fatal(err)
	}
	return bytes.Clone(b)
}

func testServiceKeytab(t *testing.T, s *samba) {
	double := newDirectoryServiceDouble(t, s)
	rotatortest.Suite{
		Rotator: "directoryservice.keytab",
		New: func(t testing.TB) *rotatortest.Target {
			target := newServiceUser(t, s)
			user := target.Secret["awsSeamlessDomainUsername"].(string)
			return withKeytabs(t, s, target, user, "awsSeamlessDomainPassword", s.makeKeytab)
		},
		Environment: map[string]string{"AWS_ENDPOINT_URL_DIRECTORY_SERVICE": double.URL},
	}.Run(t)
}

// testDomainKeytab compares with what the domain itself exports, and kills
// the domain's controller.
func testDomainKeytab(t *testing.T, s *samba) {
	suite := rotatortest.Suite{
		Rotator: "activedirectory.keytab",
		New: func(t testing.TB) *rotatortest.Target {
			return s.domainKeytabs(t, s.exportKeytab)
		},
		Environment: map[string]string{"KEYTURN_CA_BUNDLE": rotatortest.PEM(t, s.caFile())},
		NoKills:     true,
	}
	suite.Run(t)
	suite.New = func(t testing.TB) *rotatortest.Target { return s.domainKeytabs(t, s.makeKeytab) }
	suite.NoKills = false
	suite.Kill = func(testing.TB) { s.kill() }
	suite.Revive = func(t testing.TB) {
		if err := s.start(t.Context()); err != nil {
			t.Fatal(err)
		}
	}
	suite.Run(t)
}

func (s *samba) domainKeytabs(t testing.TB, keytab keytabMaker) *rotatortest.Target {
	t.Helper()
	target := newAccount(t, s, byDN)
	target.Superuser = nil
	return withKeytabs(t, s, target, s.accountOf(t, dnOf(target)), "password", keytab)
}
