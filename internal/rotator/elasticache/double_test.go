package elasticache_test

import (
	"encoding/xml"
	"fmt"
	"net/http"
	"net/http/httptest"
	"slices"
	"strings"
	"sync"
	"testing"
)

// serviceDouble stands for ElastiCache's API, which nothing outside AWS
// offers: DescribeUsers and ModifyUser in the query protocol, with users that
// are modified for a while before their new passwords are valid.
type serviceDouble struct {
	*httptest.Server
	mu    sync.Mutex
	users map[string]*doubleUser
}

// doubleUser is one user.
type doubleUser struct {
	valid, next []string // passwords, and those that become valid with active
	status      string
	polls       int // how often it is still asked for before it is active
	stuck       bool
	denied      bool // the caller has no right to it
	modified    int
}

func startDouble(t testing.TB) *serviceDouble {
	d := &serviceDouble{users: map[string]*doubleUser{}}
	d.Server = httptest.NewServer(d)
	t.Cleanup(d.Close)
	return d
}

func (d *serviceDouble) add(id string, passwords ...string) *doubleUser {
	d.mu.Lock()
	defer d.mu.Unlock()
	u := &doubleUser{valid: passwords, status: "active"}
	d.users[id] = u
	return u
}

// change changes a user as the service does by itself.
func (d *serviceDouble) change(id string, f func(u *doubleUser)) {
	d.mu.Lock()
	defer d.mu.Unlock()
	f(d.users[id])
}

// logIn tells whether a cache would let the user in.
func (d *serviceDouble) logIn(id, password string) error {
	d.mu.Lock()
	defer d.mu.Unlock()
	if u := d.users[id]; u == nil || !slices.Contains(u.valid, password) {
		return fmt.Errorf("user %s: WRONGPASS", id)
	}
	return nil
}

// ServeHTTP implements http.Handler.
func (d *serviceDouble) ServeHTTP(w http.ResponseWriter, q *http.Request) {
	d.mu.Lock()
	defer d.mu.Unlock()
	if err := q.ParseForm(); err != nil || !strings.Contains(q.Header.Get("Authorization"), "/elasticache/aws4_request") {
		refuse(w, http.StatusForbidden, "MissingAuthenticationToken", "Request is missing Authentication Token")
		return
	}
	id := q.PostForm.Get("UserId")
	u := d.users[id]
	switch {
	case u == nil:
		refuse(w, http.StatusNotFound, "UserNotFound", "User "+id+" not found.")
	case u.denied:
		refuse(w, http.StatusForbidden, "AccessDenied", "User is not authorized to perform: elasticache:"+q.PostForm.Get("Action"))
	case q.PostForm.Get("Action") == "DescribeUsers":
		u.advance()
		answer(w, "DescribeUsers", "<Users><member>"+u.xml(id)+"</member></Users>")
	case q.PostForm.Get("Action") == "ModifyUser":
		d.modify(w, q, id, u)
	default:
		refuse(w, http.StatusBadRequest, "InvalidAction", "no such action")
	}
}

// advance brings a user nearer to active.
func (u *doubleUser) advance() {
	if u.polls--; u.polls < 0 && !u.stuck && u.status != "active" {
		u.status, u.valid = "active", u.next
	}
}

func (u *doubleUser) xml(id string) string {
	return fmt.Sprintf("<UserId>%s</UserId><Status>%s</Status>", id, u.status)
}

func (d *serviceDouble) modify(w http.ResponseWriter, q *http.Request, id string, u *doubleUser) {
	var passwords []string
	for n := 1; ; n++ {
		p := q.PostForm.Get(fmt.Sprintf("Passwords.member.%d", n))
		if p == "" {
			break
		}
		passwords = append(passwords, p)
	}
	switch {
	case u.status != "active":
		refuse(w, http.StatusBadRequest, "InvalidUserState", "User "+id+" is not in active state.")
	case len(passwords) < 1 || len(passwords) > 2:
		refuse(w, http.StatusBadRequest, "InvalidParameterCombination", "one or two passwords are needed")
	case slices.ContainsFunc(passwords, func(p string) bool { return len(p) < 16 || len(p) > 128 }):
		refuse(w, http.StatusBadRequest, "InvalidParameterValue", "Passwords length must be between 16-128 characters.")
	default:
		u.status, u.next, u.polls, u.modified = "modifying", passwords, 1, u.modified+1
		answer(w, "ModifyUser", u.xml(id))
	}
}

func answer(w http.ResponseWriter, action, body string) {
	w.Header().Set("Content-Type", "text/xml")
	fmt.Fprintf(w, `<%[1]sResponse xmlns="http://elasticache.amazonaws.com/doc/2015-02-02/"><%[1]sResult>%[2]s</%[1]sResult></%[1]sResponse>`, action, body)
}

func refuse(w http.ResponseWriter, status int, code, text string) {
	w.Header().Set("Content-Type", "text/xml")
	w.WriteHeader(status)
	fmt.Fprintf(w, "<ErrorResponse><Error><Type>Sender</Type><Code>%s</Code><Message>", code)
	_ = xml.EscapeText(w, []byte(text)) // the caller is gone if it fails
	fmt.Fprint(w, "</Message></Error><RequestId>1</RequestId></ErrorResponse>")
}
