package secretsmanager

import (
	"testing"

	api "github.com/keyturn/keyturn/internal/api/secretsmanager"
)

// BenchmarkGetSecretValue is the operation alone: without HTTP, signature and
// trail.
func BenchmarkGetSecretValue(b *testing.B) {
	s := newBench(b)
	s.create("s", "0123456789abcdef0123456789abcdef")
	in := &api.GetSecretValueRequest{SecretId: new("s")}
	if _, err := s.GetSecretValue(b.Context(), callAt(s), in); err != nil {
		b.Fatal(err)
	}
	b.ReportAllocs()
	for b.Loop() {
		if _, err := s.GetSecretValue(b.Context(), callAt(s), in); err != nil {
			b.Fatal(err)
		}
	}
}

// BenchmarkBatchGetSecretValue reads as many secrets as one call may.
func BenchmarkBatchGetSecretValue(b *testing.B) {
	s := newBench(b)
	in := &api.BatchGetSecretValueRequest{}
	for i := range maxBatch {
		in.SecretIdList = append(in.SecretIdList, string(rune('a'+i)))
		s.create(string(rune('a'+i)), "0123456789abcdef0123456789abcdef")
	}
	b.ReportAllocs()
	for b.Loop() {
		if _, err := s.BatchGetSecretValue(b.Context(), callAt(s), in); err != nil {
			b.Fatal(err)
		}
	}
}
