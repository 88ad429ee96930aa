package rotator

import (
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"net/url"
	"regexp"
	"strings"
	"testing"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/credentials"
	"github.com/aws/aws-sdk-go-v2/service/secretsmanager"
	"github.com/google/go-cmp/cmp"

	"github.com/keyturn/keyturn/internal/plaintext"
)

// awsDouble stands for RDS, Redshift and what Secrets Manager says of secrets
// that they keep: it speaks the services' protocols and knows what it is
// told. No server of ours has these services.
type awsDouble struct {
	// tags are of every secret, secrets their values by id.
	tags    map[string]string
	secrets map[string]string
	// instances and clusters are XML by identifier or ARN.
	instances, clusters, redshift map[string]string
	namespaces, workgroups        []map[string]any
	// broken makes RDS and Redshift answer with an error.
	broken bool
	asked  []string
}

func (d *awsDouble) ServeHTTP(w http.ResponseWriter, q *http.Request) {
	body, _ := io.ReadAll(q.Body)
	if target := q.Header.Get("X-Amz-Target"); target != "" {
		d.json(w, target[strings.LastIndexByte(target, '.')+1:], body)
		return
	}
	form, _ := url.ParseQuery(string(body))
	d.query(w, form)
}

func (d *awsDouble) json(w http.ResponseWriter, operation string, body []byte) {
	d.asked = append(d.asked, operation)
	in := map[string]any{}
	_ = json.Unmarshal(body, &in)
	var out any
	switch operation {
	case "DescribeSecret":
		tags := []map[string]string{}
		for k, v := range d.tags {
			tags = append(tags, map[string]string{"Key": k, "Value": v})
		}
		out = map[string]any{"Tags": tags}
	case "GetSecretValue":
		out = map[string]any{"SecretString": d.secrets[in["SecretId"].(string)]}
	case "ListNamespaces":
		out = page("namespaces", d.namespaces, in["nextToken"])
	case "ListWorkgroups":
		out = page("workgroups", d.workgroups, in["nextToken"])
	}
	w.Header().Set("Content-Type", "application/x-amz-json-1.1")
	_ = json.NewEncoder(w).Encode(out)
}

// page returns one element at a time, the first of them last.
func page(member string, all []map[string]any, token any) map[string]any {
	n := len(all) - 1
	if t, ok := token.(string); ok {
		_, _ = fmt.Sscan(t, &n)
	}
	out := map[string]any{member: all[n : n+1]}
	if n > 0 {
		out["nextToken"] = fmt.Sprint(n - 1)
	}
	return out
}

func (d *awsDouble) query(w http.ResponseWriter, form url.Values) {
	operation := form.Get("Action")
	id := form.Get("DBInstanceIdentifier") + form.Get("DBClusterIdentifier") + form.Get("ClusterIdentifier")
	d.asked = append(d.asked, operation+" "+id)
	known := map[string]map[string]string{"DescribeDBInstances": d.instances, "DescribeDBClusters": d.clusters, "DescribeClusters": d.redshift}[operation]
	w.Header().Set("Content-Type", "text/xml")
	if d.broken {
		w.WriteHeader(http.StatusForbidden)
		fmt.Fprint(w, `<ErrorResponse><Error><Type>Sender</Type><Code>AccessDenied</Code><Message>not you</Message></Error><RequestId>r</RequestId></ErrorResponse>`)
		return
	}
	list := map[string]string{"DescribeDBInstances": "DBInstances", "DescribeDBClusters": "DBClusters", "DescribeClusters": "Clusters"}[operation]
	fmt.Fprintf(w, `<%[1]sResponse><%[1]sResult><%[2]s>%[3]s</%[2]s></%[1]sResult></%[1]sResponse>`, operation, list, known[id])
}

func instanceXML(id, host, engine, source, cluster string) string {
	return fmt.Sprintf(`<DBInstance><DBInstanceIdentifier>%s</DBInstanceIdentifier><Endpoint><Address>%s</Address><Port>5433</Port></Endpoint>`+
		`<Engine>%s</Engine><ReadReplicaSourceDBInstanceIdentifier>%s</ReadReplicaSourceDBInstanceIdentifier><DBClusterIdentifier>%s</DBClusterIdentifier></DBInstance>`,
		id, host, engine, source, cluster)
}

// clusterXML is a cluster of the writer one and the reader two.
func clusterXML(id string) string {
	return fmt.Sprintf(`<DBCluster><DBClusterIdentifier>%[1]s</DBClusterIdentifier><Endpoint>%[1]s.cluster-x.eu-west-1.rds.amazonaws.com</Endpoint>`+
		`<ReaderEndpoint>%[1]s.cluster-ro-x.eu-west-1.rds.amazonaws.com</ReaderEndpoint><Port>5434</Port><Engine>aurora-postgresql</Engine><DBClusterMembers>`+
		`<DBClusterMember><DBInstanceIdentifier>one</DBInstanceIdentifier><IsClusterWriter>true</IsClusterWriter></DBClusterMember>`+
		`<DBClusterMember><DBInstanceIdentifier>two</DBInstanceIdentifier><IsClusterWriter>false</IsClusterWriter></DBClusterMember>`+
		`</DBClusterMembers></DBCluster>`, id)
}

// rotationAt makes a step that reaches the double alone.
func (d *awsDouble) rotationAt(t *testing.T, settings Settings) (*Rotation, *strings.Builder) {
	server := httptest.NewServer(d)
	t.Cleanup(server.Close)
	log := &strings.Builder{}
	cfg := aws.Config{
		Region: "eu-west-1", BaseEndpoint: &server.URL, RetryMaxAttempts: 1, HTTPClient: server.Client(),
		Credentials: credentials.NewStaticCredentialsProvider("AKIATEST", "secret", ""),
	}
	return &Rotation{
		SecretID: "app", Step: "setSecret", Settings: settings, Config: cfg,
		secrets: secretsmanager.NewFromConfig(cfg), journal: &journal{to: log},
	}, log
}

func parsed(t *testing.T, text string) *Document {
	t.Helper()
	d, err := ParseDocument(plaintext.Of(text))
	if err != nil {
		t.Fatal(err)
	}
	return d
}

const (
	instanceARN  = "arn:aws:rds:eu-west-1:123456789012:db:main"
	clusterARN   = "arn:aws:rds:eu-west-1:123456789012:cluster:aurora"
	redshiftARN  = "arn:aws:redshift:eu-west-1:123456789012:cluster:dwh"
	namespaceARN = "arn:aws:redshift-serverless:eu-west-1:123456789012:namespace/0-1"
)

func newDouble() *awsDouble {
	return &awsDouble{
		secrets: map[string]string{"defaults": `{"engine":"postgres","host":"db","port":7,"dbname":"d","password":"not this one"}`},
		instances: map[string]string{
			instanceARN:  instanceXML("main", "main.x.eu-west-1.rds.amazonaws.com", "postgres", "", ""),
			"arn:oracle": instanceXML("o", "o.x", "custom-oracle-ee", "", ""), "arn:sqlserver": instanceXML("s", "s.x", "sqlserver-web", "", ""),
			"main": instanceXML("main", "", "postgres", "", ""), "copy": instanceXML("copy", "", "postgres", "main", ""),
			"one": instanceXML("one", "", "aurora-postgresql", "", "aurora"), "two": instanceXML("two", "", "aurora-postgresql", "", "aurora"),
		},
		clusters: map[string]string{clusterARN: clusterXML("aurora"), "aurora": clusterXML("aurora")},
		redshift: map[string]string{
			"dwh": `<Cluster><ClusterIdentifier>dwh</ClusterIdentifier><Endpoint><Address>dwh.x</Address><Port>5439</Port></Endpoint></Cluster>`,
		},
		namespaces: []map[string]any{
			{"namespaceArn": namespaceARN, "namespaceName": "ours"}, {"namespaceArn": "arn:other", "namespaceName": "other"},
		},
		workgroups: []map[string]any{
			{"namespaceName": "ours", "endpoint": map[string]any{"address": "wg.x", "port": 5440}},
			{"namespaceName": "other", "endpoint": map[string]any{"address": "no.x", "port": 1}},
		},
	}
}

// stamp is the time in a log line.
var stamp = regexp.MustCompile(`\]\t[0-9T:.Z-]+\t`)

func TestManagedSuperuserByDouble(t *testing.T) {
	long := "arn:" + strings.Repeat("x", 253)
	for _, tc := range []struct {
		name    string
		service Service
		tags    map[string]string
		broken  bool
		want    string // host:port engine, or the error's type and text
		log     string
	}{
		{"instance", Aurora, map[string]string{"aws:rds:primaryDBInstanceArn": instanceARN}, false,
			"main.x.eu-west-1.rds.amazonaws.com:5433 postgres", "setSecret: Successfully fetched connection params for Master Secret admin from DescribeDBInstances API."},
		{"instance of Oracle", RDS, map[string]string{"AWS:RDS:PRIMARYDBINSTANCEARN": "arn:oracle"}, false, "o.x:5433 oracle", ""},
		{"instance of SQL Server", RDS, map[string]string{"aws:rds:primarydbinstancearn": "arn:sqlserver"}, false, "s.x:5433 sqlserver", ""},
		{"cluster", Aurora, map[string]string{"aws:rds:primaryDBClusterArn": clusterARN}, false,
			"aurora.cluster-x.eu-west-1.rds.amazonaws.com:5434 aurora-postgresql", "from DescribeDBClusters API."},
		{"cluster of an engine without", RDS, map[string]string{"aws:rds:primaryDBClusterArn": clusterARN}, false, "KeyError host key is missing from secret JSON",
			"[WARNING]\tsetSecret: The secret admin is not a service-linked secret, so it does not have a tag aws:rds:primarydbinstancearn"},
		{"no tag", Aurora, map[string]string{"owner": "x"}, false, "KeyError host key is missing from secret JSON",
			"it does not have a tag aws:rds:primarydbinstancearn or a tag aws:rds:primarydbclusterarn"},
		{"no instance", Aurora, map[string]string{"aws:rds:primaryDBInstanceArn": "arn:gone"}, false,
			"ValueError arn:gone is not a valid DB Instance ARN. No Instances found when using DescribeDBInstances RDS API to get connection params.", ""},
		{"no cluster", Aurora, map[string]string{"aws:rds:primaryDBClusterArn": "arn:gone"}, false,
			"ValueError arn:gone is not a valid DB Cluster ARN. No Clusters found when using DescribeDBClusters RDS API to get connection params.", ""},
		{"long ARN", Aurora, map[string]string{"aws:rds:primaryDBInstanceArn": long}, false,
			"ValueError " + long + " is not a valid DB Instance ARN. It exceeds the maximum length of 256.", ""},
		{"refused", Aurora, map[string]string{"aws:rds:primaryDBInstanceArn": instanceARN}, true,
			"Exception Encountered API error while fetching connection parameters from DescribeDBInstances RDS API: operation error RDS: DescribeDBInstances", ""},
		{"Redshift", Redshift, map[string]string{"aws:redshift:primaryClusterArn": redshiftARN}, false, "dwh.x:5439 redshift", "from DescribeClusters API."},
		{"Redshift Serverless", Redshift, map[string]string{"aws:redshift-serverless:namespaceArn": namespaceARN}, false, "wg.x:5440 redshift", "from ListWorkgroups API."},
	} {
		t.Run(tc.name, func(t *testing.T) {
			d := newDouble()
			d.tags, d.broken = tc.tags, tc.broken
			r, log := d.rotationAt(t, nil)
			got := ""
			found, err := r.located(t.Context(), tc.service, "admin", parsed(t, `{"username":"a","password":"hidden"}`))
			if err != nil {
				e, ok := err.(*Error)
				if !ok {
					t.Fatalf("got error %v, of type %T", err, err)
				}
				got = e.Type + " " + e.Text
			} else {
				got = fmt.Sprintf("%s:%s %s", found.Text("host"), found.Text("port"), found.Text("engine"))
			}
			if !strings.HasPrefix(got, tc.want) {
				t.Errorf("got %s\nwant %s", got, tc.want)
			}
			lines := strings.NewReplacer("\t\t", "\t").Replace(stamp.ReplaceAllString(log.String(), "]\t"))
			if !strings.Contains(lines, tc.log) {
				t.Errorf("got log %q, want %q in it", lines, tc.log)
			}
		})
	}
}

func TestSuperuserDefaultsByDouble(t *testing.T) {
	d := newDouble()
	r, _ := d.rotationAt(t, Settings{"KEYTURN_SUPERUSER_DEFAULTS": "defaults"})
	got, err := r.located(t.Context(), Aurora, "admin", parsed(t, `{"username":"a","password":"p"}`))
	if err != nil {
		t.Fatal(err)
	}
	want := `{"username": "a", "password": "p", "engine": "postgres", "host": "db", "port": 7, "dbname": "d"}`
	if diff := cmp.Diff(want, got.Value().RevealText()); diff != "" {
		t.Errorf("(-want +got):\n%s", diff)
	}
	if diff := cmp.Diff([]string{"GetSecretValue"}, d.asked); diff != "" {
		t.Errorf("calls (-want +got):\n%s", diff)
	}
}

func TestSameServerByDouble(t *testing.T) {
	const (
		main, replica = "main.x.eu-west-1.rds.amazonaws.com", "copy.x.eu-west-1.rds.amazonaws.com"
		writer        = "aurora.cluster-x.eu-west-1.rds.amazonaws.com"
		reader        = "aurora.cluster-ro-x.eu-west-1.rds.amazonaws.com"
		one, two      = "one.x.eu-west-1.rds.amazonaws.com", "two.x.eu-west-1.rds.amazonaws.com"
		refused       = "AccessDenied"
	)
	for _, tc := range []struct {
		name         string
		service      Service
		cur, primary string
		hosts        string
		broken       bool
		want         string
		asks         bool
	}{
		{"the same", NoService, "db", "DB", "", false, "true", false},
		{"another", NoService, "db", "db2", "", false, "false", false},
		{"configured", NoService, "db", "db2", "a=b, db = db2", false, "true", false},
		{"configured the other way", NoService, "db", "db2", "db2=db", false, "false", false},
		{"configured with ports", NoService, "db", "db2", "db:0=db2:0", false, "true", false},
		{"configured with another port", NoService, "db", "db2", "db:1=db2:0", false, "false", false},
		{"nothing configured", NoService, "", "", "=", false, "true", false},
		{"not of RDS", Aurora, "db", "db2", "", true, "false", true},
		{"by addresses", Aurora, "10.0.0.1", "10.0.0.2", "", false, "false", false},
		{"replica", RDS, replica, main, "", false, "true", true},
		{"replica of an Aurora engine", Aurora, replica, main, "", false, "true", true},
		{"primary of it", RDS, main, replica, "", false, "false", true},
		{"no such instance", RDS, "gone.x.rds.amazonaws.com", main, "", false, "false", true},
		{"engine without replicas", Redshift, replica, main, "", false, "false", false},
		{"reader endpoint", Aurora, reader, writer, "", false, "true", true},
		{"reader endpoint, primary named by its instance", Aurora, reader, one, "", false, "true", true},
		{"reader", Aurora, two, writer, "", false, "true", true},
		{"writer", Aurora, one, writer, "", false, "false", true},
		{"instance of no cluster", Aurora, main, writer, "", false, "false", true},
		{"cluster of an engine without", RDS, reader, writer, "", false, "false", false},
		{"refused", RDS, replica, main, "", true, "false", true},
		{"refused to an Aurora engine", Aurora, replica, main, "", true, refused, true},
	} {
		t.Run(tc.name, func(t *testing.T) {
			d := newDouble()
			d.broken = tc.broken
			r, log := d.rotationAt(t, Settings{"KEYTURN_PRIMARY_HOSTS": tc.hosts})
			same, err := r.sameServer(t.Context(), Kind{Service: tc.service}, Login{Host: tc.cur}, Login{Host: tc.primary})
			got := fmt.Sprint(same)
			if e, ok := err.(*Error); ok {
				got = e.Type
			}
			if got != tc.want || tc.asks != (len(d.asked) > 0) {
				t.Errorf("got %s, error %v, after the calls %q; want %s", got, err, d.asked, tc.want)
			}
			warned := strings.Contains(log.String(), "Encountered error while verifying rds replica status: ")
			if want := tc.broken && tc.asks && tc.service == RDS; warned != want {
				t.Errorf("got log %q, want a warning: %v", log, want)
			}
		})
	}
}
