package server_test

import (
	"fmt"
	"path/filepath"
	"testing"

	"github.com/google/uuid"

	"github.com/keyturn/keyturn/internal/apitest"
	"github.com/keyturn/keyturn/internal/server"
)

// BenchmarkMany asks a server with a few thousand secrets for pages, through
// filters that find little, and for secrets that are not in its cache.
func BenchmarkMany(b *testing.B) {
	const secrets = 4000
	s, err := server.New(b.Context(), server.Config{
		Dir: filepath.Join(b.TempDir(), "data"), Listen: "127.0.0.1:0", Region: apitest.Region, Account: apitest.Account,
		RootAccessKeyID: apitest.AccessKey, RootSecretAccessKey: apitest.SecretKey, CacheSize: -1,
	})
	if err != nil {
		b.Fatal(err)
	}
	b.Cleanup(func() { s.Close() })
	name := func(i int) string { return fmt.Sprintf("bench/team-%03d/secret-%07d", i%100, i) }
	for i := range secrets {
		ask(b, s.Handler(), "CreateSecret", map[string]any{
			"Name": name(i), "SecretString": `{"username":"app","password":"correct-horse-battery-staple-01"}`, "ClientRequestToken": uuid.NewString(),
			"Tags": []map[string]string{{"Key": "team", "Value": fmt.Sprintf("team-%03d", i%100)}},
		})()
	}
	filtered := func(key, value string) map[string]any {
		return map[string]any{"MaxResults": 100, "Filters": []map[string]any{{"Key": key, "Values": []string{value}}}}
	}
	gets := make([]func(), secrets)
	for i := range gets {
		gets[i] = ask(b, s.Handler(), "GetSecretValue", map[string]any{"SecretId": name((i * 1009) % secrets)})
		gets[i]() // notes the day
	}
	next := 0
	for _, bm := range []struct {
		name string
		ask  func()
	}{
		{"Page", ask(b, s.Handler(), "ListSecrets", map[string]any{"MaxResults": 100})},
		{"Prefix", ask(b, s.Handler(), "ListSecrets", filtered("name", "bench/team-042/"))},
		{"Tag", ask(b, s.Handler(), "ListSecrets", filtered("tag-value", "nowhere"))},
		{"All", ask(b, s.Handler(), "ListSecrets", filtered("all", "nowhere"))},
		{"Miss", func() {
			next++
			gets[next%len(gets)]()
		}},
	} {
		b.Run(bm.name, func(b *testing.B) {
			b.ReportAllocs()
			for b.Loop() {
				bm.ask()
			}
		})
	}
}
