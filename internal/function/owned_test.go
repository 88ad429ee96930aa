package function

import "testing"

func TestParseOwnedARN(t *testing.T) {
	owned := ARN("us-east-1", "123456789012", OwnedName("rds", "postgres"), "")
	ref, service, ok := ParseOwnedARN(owned)
	if !ok || service != "rds" || ref.ARN() != owned {
		t.Errorf("got %+v of %q, %v; want the function %s of rds", ref, service, ok, owned)
	}
	for _, s := range []string{
		"rds@postgres", "arn:aws:lambda:us-east-1:123456789012:function:plain", owned + ":1", owned + "@more",
		"arn:aws:lambda:us-east-1:123456789012:function:@postgres", "arn:aws:lambda:us-east-1::function:rds@postgres",
		"arn:aws-cn:lambda:us-east-1:123456789012:function:rds@postgres",
	} {
		if ref, _, ok := ParseOwnedARN(s); ok {
			t.Errorf("%s: got %+v, want a refusal", s, ref)
		}
	}
	for _, s := range []string{owned, "rds@postgres", "function:rds@postgres"} {
		if ref, ok := ParseRef(s); ok {
			t.Errorf("ParseRef(%s): got %+v, want a refusal: the Lambda API must not name it", s, ref)
		}
	}
}
