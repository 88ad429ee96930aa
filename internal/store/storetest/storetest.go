// Package storetest is the suite that every backend of package store has to
// pass. Each subtest gets a fresh store.
package storetest

import (
	"errors"
	"testing"

	"github.com/keyturn/keyturn/internal/fault"
	"github.com/keyturn/keyturn/internal/store"
)

// Open returns a fresh, empty store that is closed when the test ends.
type Open func(t testing.TB) *store.Store

// Run runs the suite on stores that open makes.
func Run(t *testing.T, open Open) {
	for _, tc := range []struct {
		name string
		test func(*testing.T, Open)
	}{
		{"Meta", testMeta},
		{"Function", testFunction},
		{"FunctionList", testFunctionList},
		{"FunctionConcurrency", testFunctionConcurrency},
		{"FunctionVersion", testFunctionVersion},
		{"FunctionAlias", testFunctionAlias},
		{"OwnedFunction", testOwnedFunctions},
		{"Database", testDatabases},
		{"DatabaseCluster", testDatabaseClusters},
		{"Layer", testLayer},
		{"Event", testEvent},
		{"SecretRoundTrip", testSecretRoundTrip},
		{"SecretChanges", testSecretChanges},
		{"SecretValueKept", testSecretValueKept},
		{"SecretLookup", testSecretLookup},
		{"SecretUnique", testSecretUnique},
		{"SecretRevision", testSecretRevision},
		{"SecretDelete", testSecretDelete},
		{"LabelTwice", testLabelTwice},
		{"ReadVersion", testReadVersion},
		{"FindLabelled", testFindLabelled},
		{"Written", testWritten},
		{"WrittenInTurn", testWrittenInTurn},
		{"Crowded", testCrowded},
		{"Touch", testTouch},
		{"PurgeAndDue", testPurgeAndDue},
		{"Replicas", testReplicas},
		{"List", testList},
		{"ListContent", testListContent},
		{"ListManyMatches", testListManyMatches},
		{"ListUnderInserts", testListUnderInserts},
		{"LogGroups", testLogGroups},
		{"LogStreams", testLogStreams},
		{"LogEntries", testLogEntries},
		{"LogEntriesModel", testLogEntriesModel},
		{"TrimLogs", testTrimLogs},
		{"LargeLogGroups", testLargeLogGroups},
		{"Network", testNetwork},
		{"NetworkClaim", testNetworkClaim},
		{"NetworkDatabases", testNetworkDatabases},
		{"FunctionInterfaces", testFunctionInterfaces},
		{"Run", testRun},
		{"Fence", testFence},
		{"LeaseFromTheFuture", testLeaseFromTheFuture},
		{"ClocksDiffer", testClocksDiffer},
		{"Release", testRelease},
		{"ClaimOrder", testClaimOrder},
		{"ClaimRace", testClaimRace},
		{"NextDue", testNextDue},
		{"PrincipalARN", testPrincipalARN},
		{"Keys", testKeys},
		{"KeyLists", testKeyLists},
		{"RootKeys", testRootKeys},
		{"Aliases", testAliases},
		{"Grants", testGrants},
		{"Roles", testRoles},
		{"RoleLists", testRoleLists},
		{"Users", testUsers},
		{"UserLists", testUserLists},
		{"Groups", testGroups},
		{"Memberships", testMemberships},
		{"AccessKeys", testAccessKeys},
		{"CustomerPolicies", testCustomerPolicies},
		{"PolicyHolders", testPolicyHolders},
		{"Accounts", testAccounts},
		{"Providers", testProviders},
		{"Stacks", testStacks},
		{"StackList", testStackList},
		{"StackResources", testStackResources},
		{"StackEvents", testStackEvents},
		{"ChangeSets", testChangeSets},
		{"Operations", testOperations},
		{"OperationClaims", testOperationClaims},
		{"Exports", testExports},
		{"FeedTopics", testFeedTopics},
		{"FeedFailure", testFeedFailure},
		{"FeedStops", testFeedStops},
		{"CacheRace", testCacheRace},
		{"ReadChanges", testReadChanges},
		{"ReadRace", testReadRace},
		{"Events", testEvents},
		{"DropEvents", testDropEvents},
		{"StoredEvents", testStoredEvents},
		{"TrailSeals", testTrailSeals},
		{"TrailHeads", testTrailHeads},
		{"EventWithChange", testEventWithChange},
		{"LostUpdate", testLostUpdate},
		{"WriteSkew", testWriteSkew},
		{"Snapshot", testSnapshot},
		{"OwnWrites", testOwnWrites},
		{"ViewCannotWrite", testViewCannotWrite},
		{"FailuresAlone", testFailuresAlone},
		{"FailedStatement", testFailedStatement},
		{"Panic", testPanic},
		{"Cancelled", testCancelled},
		{"CancelStorm", testCancelStorm},
		{"UseAfterEnd", testUseAfterEnd},
		{"UseAfterClose", testUseAfterClose},
		{"CloseUnderLoad", testCloseUnderLoad},
		{"Model", testModel},
	} {
		t.Run(tc.name, func(t *testing.T) {
			t.Parallel()
			tc.test(t, open)
		})
	}
}

// update runs fn in an Update and fails the test on an error.
func update(t testing.TB, s *store.Store, fn func(tx *store.Tx) error) {
	t.Helper()
	if err := s.Update(t.Context(), fn); err != nil {
		t.Fatalf("update: %v", err)
	}
}

// view runs fn in a View and fails the test on an error.
func view(t testing.TB, s *store.Store, fn func(tx *store.Tx) error) {
	t.Helper()
	if err := s.View(t.Context(), fn); err != nil {
		t.Fatalf("view: %v", err)
	}
}

// read returns what fn returns inside a View.
func read[T any](t testing.TB, s *store.Store, fn func(tx *store.Tx) (T, error)) T {
	t.Helper()
	var v T
	view(t, s, func(tx *store.Tx) (err error) {
		v, err = fn(tx)
		return err
	})
	return v
}

// recall is read inside a Read.
func recall[T any](t testing.TB, s *store.Store, fn func(tx *store.Tx) (T, error)) T {
	t.Helper()
	var v T
	if err := s.Read(t.Context(), func(tx *store.Tx) (err error) {
		v, err = fn(tx)
		return err
	}); err != nil {
		t.Fatalf("read: %v", err)
	}
	return v
}

// wantKind fails the test unless err is a fault of the kind.
func wantKind(t testing.TB, err error, kind fault.Kind) {
	t.Helper()
	if !fault.Is(err, kind) {
		t.Errorf("got error %v, want one of kind %q", err, kind)
	}
}

var errOnPurpose = errors.New("on purpose")
