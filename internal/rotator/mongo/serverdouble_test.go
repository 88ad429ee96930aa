package mongo_test

import (
	"bytes"
	"crypto/rand"
	"encoding/binary"
	"fmt"
	"io"
	"net"
	"sync"
	"testing"

	"github.com/xdg-go/scram"
	"go.mongodb.org/mongo-driver/v2/bson"
)

// Operations of MongoDB's protocol.
const (
	opReply   = 1
	opQuery   = 2004
	opMessage = 2013
)

// serverDouble stands in for MongoDB and DocumentDB where FerretDB does not
// do: for roles, and for what else users have; for secondaries and refusals.
// It speaks the protocol to the real driver, and authenticates by SCRAM.
type serverDouble struct {
	listener net.Listener

	mu    sync.Mutex
	users map[string]*userDouble // by database and name
	// documentDB knows neither restrictions nor mechanisms, and no user
	// without roles.
	documentDB bool
	refuse     map[string]*errorDouble // by command
}

type userDouble struct {
	stored       scram.StoredCredentials
	roles        bson.A
	custom       any
	restrictions any
	mechanisms   bson.A
}

type errorDouble struct {
	code int32
	text string
}

func (e *errorDouble) reply() bson.D {
	return bson.D{{Key: "ok", Value: 0}, {Key: "errmsg", Value: e.text}, {Key: "code", Value: e.code}, {Key: "codeName", Value: "Double"}}
}

func startDouble(t testing.TB) *serverDouble {
	t.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	s := &serverDouble{listener: l, users: map[string]*userDouble{}, refuse: map[string]*errorDouble{}}
	s.add("admin", rootName, rootPassword, bson.A{role("root", "admin")})
	t.Cleanup(func() { l.Close() })
	go func() {
		for {
			conn, err := l.Accept()
			if err != nil {
				return
			}
			go (&wireDouble{conn: conn, server: s}).serve()
		}
	}()
	return s
}

func role(name, database string) bson.D {
	return bson.D{{Key: "role", Value: name}, {Key: "db", Value: database}}
}

func (s *serverDouble) port() int { return s.listener.Addr().(*net.TCPAddr).Port }

func (s *serverDouble) set(change func()) {
	s.mu.Lock()
	defer s.mu.Unlock()
	change()
}

func (s *serverDouble) add(database, name, password string, roles bson.A) *userDouble {
	u := &userDouble{roles: roles, mechanisms: bson.A{"SCRAM-SHA-256"}}
	u.identify(name, password)
	s.users[database+"."+name] = u
	return u
}

func (u *userDouble) identify(name, password string) {
	client, err := scram.SHA256.NewClient(name, password, "")
	if err != nil {
		panic(err) // the tests' passwords can be prepared
	}
	if u.stored, err = client.GetStoredCredentialsWithError(scram.KeyFactors{Salt: rand.Text(), Iters: 4096}); err != nil {
		panic(err) // the factors are good
	}
}

// wireDouble is one connection.
type wireDouble struct {
	conn         net.Conn
	server       *serverDouble
	conversation *scram.ServerConversation
	who          string // the user that is logged in
}

func (w *wireDouble) serve() {
	defer w.conn.Close()
	for {
		var header [16]byte
		if _, err := io.ReadFull(w.conn, header[:]); err != nil {
			return
		}
		body := make([]byte, int(binary.LittleEndian.Uint32(header[:]))-len(header))
		if _, err := io.ReadFull(w.conn, body); err != nil {
			return
		}
		var command bson.D
		op := binary.LittleEndian.Uint32(header[12:])
		document := body[5:] // flags, and the kind of the section
		if op == opQuery {
			document = body[4+bytes.IndexByte(body[4:], 0)+1+8:]
		}
		if err := bson.Unmarshal(document, &command); err != nil {
			return
		}
		reply, err := bson.Marshal(w.obey(command))
		if err != nil {
			return
		}
		if _, err := w.conn.Write(message(op, header[4:8], reply)); err != nil {
			return
		}
	}
}

func message(op uint32, request, reply []byte) []byte {
	prefix := make([]byte, 5) // flags, and a section of one document
	answer := uint32(opMessage)
	if op == opQuery {
		answer = opReply
		prefix = make([]byte, 20)
		prefix[16] = 1 // one document
	}
	b := binary.LittleEndian.AppendUint32(nil, uint32(16+len(prefix)+len(reply)))
	b = append(append(b, 0, 0, 0, 0), request...)
	b = binary.LittleEndian.AppendUint32(b, answer)
	return append(append(b, prefix...), reply...)
}

func get(d bson.D, key string) any {
	for _, e := range d {
		if e.Key == key {
			return e.Value
		}
	}
	return nil
}

func text(v any) string {
	s, _ := v.(string)
	return s
}

func (w *wireDouble) obey(c bson.D) bson.D {
	w.server.mu.Lock()
	defer w.server.mu.Unlock()
	database := text(get(c, "$db"))
	name := c[0].Key
	if refused := w.server.refuse[name]; refused != nil {
		return refused.reply()
	}
	switch name {
	case "hello", "isMaster", "ismaster":
		return bson.D{{Key: "ok", Value: 1}, {Key: "isWritablePrimary", Value: true}, {Key: "helloOk", Value: true}, {Key: "maxWireVersion", Value: 21},
			{Key: "maxBsonObjectSize", Value: 1 << 24}, {Key: "maxMessageSizeBytes", Value: 48000000}, {Key: "maxWriteBatchSize", Value: 100000},
			{Key: "saslSupportedMechs", Value: bson.A{"SCRAM-SHA-256"}}}
	case "saslStart":
		return w.authenticate(c, database)
	case "saslContinue":
		return w.step(c)
	}
	if w.who == "" {
		return (&errorDouble{13, "command " + name + " requires authentication"}).reply()
	}
	switch name {
	case "ping", "endSessions":
		return bson.D{{Key: "ok", Value: 1}}
	case "usersInfo":
		return w.server.info(c, database)
	case "createUser", "updateUser":
		return w.change(c, database, name == "createUser")
	}
	return (&errorDouble{59, "no such command"}).reply()
}

func (w *wireDouble) authenticate(c bson.D, database string) bson.D {
	server, err := scram.SHA256.NewServer(func(name string) (scram.StoredCredentials, error) {
		u := w.server.users[database+"."+name]
		if u == nil {
			return scram.StoredCredentials{}, fmt.Errorf("no user %s", name)
		}
		return u.stored, nil
	})
	if err != nil {
		return (&errorDouble{8, "no server"}).reply()
	}
	w.conversation = server.NewConversation()
	reply := w.step(c)
	if w.who = database + "." + w.conversation.Username(); w.server.users[w.who] == nil {
		w.who = ""
	}
	return reply
}

// step takes the client's part of the conversation. Until it is done, nobody
// is logged in.
func (w *wireDouble) step(c bson.D) bson.D {
	payload, _ := get(c, "payload").(bson.Binary)
	answer, err := w.conversation.Step(string(payload.Data))
	if err != nil {
		w.who = ""
		return (&errorDouble{18, "Authentication failed."}).reply()
	}
	return bson.D{{Key: "ok", Value: 1}, {Key: "conversationId", Value: 1}, {Key: "done", Value: w.conversation.Done()},
		{Key: "payload", Value: bson.Binary{Data: []byte(answer)}}}
}

func (s *serverDouble) info(c bson.D, database string) bson.D {
	name := text(c[0].Value)
	if d, ok := c[0].Value.(bson.D); ok {
		name, database = text(get(d, "user")), text(get(d, "db"))
	}
	restrictions := get(c, "showAuthenticationRestrictions") == true
	if restrictions && s.documentDB {
		return (&errorDouble{9, "Unrecognized field: 'showAuthenticationRestrictions'"}).reply()
	}
	found := bson.A{}
	if u := s.users[database+"."+name]; u != nil {
		d := bson.D{{Key: "user", Value: name}, {Key: "db", Value: database}, {Key: "roles", Value: u.roles}}
		if u.custom != nil {
			d = append(d, bson.E{Key: "customData", Value: u.custom})
		}
		if restrictions && u.restrictions != nil {
			d = append(d, bson.E{Key: "authenticationRestrictions", Value: u.restrictions})
		}
		if !s.documentDB {
			d = append(d, bson.E{Key: "mechanisms", Value: u.mechanisms})
		}
		found = append(found, d)
	}
	return bson.D{{Key: "ok", Value: 1}, {Key: "users", Value: found}}
}

func (w *wireDouble) change(c bson.D, database string, create bool) bson.D {
	s, name, password := w.server, text(c[0].Value), text(get(c, "pwd"))
	roles, hasRoles := get(c, "roles").(bson.A)
	root := len(s.users[w.who].roles) > 0 && text(get(s.users[w.who].roles[0].(bson.D), "role")) == "root"
	u := s.users[database+"."+name]
	switch {
	case !root && (create || hasRoles || w.who != database+"."+name):
		return (&errorDouble{13, "not authorized on " + database + " to execute command"}).reply()
	case create && u != nil:
		return (&errorDouble{51003, "User \"" + name + "@" + database + "\" already exists"}).reply()
	case create && (!hasRoles || password == "" || s.documentDB && len(roles) == 0):
		return (&errorDouble{9, "a user needs a password and roles"}).reply()
	case !create && u == nil:
		return (&errorDouble{11, "User " + name + "@" + database + " not found"}).reply()
	case create:
		u = &userDouble{}
		s.users[database+"."+name] = u
	}
	if password != "" {
		u.identify(name, password)
		u.mechanisms = bson.A{"SCRAM-SHA-1", "SCRAM-SHA-256"} // unless told otherwise
	}
	if hasRoles {
		u.roles = roles
	}
	for key, into := range map[string]*any{"customData": &u.custom, "authenticationRestrictions": &u.restrictions} {
		if v := get(c, key); v != nil {
			*into = v
		}
	}
	if m, ok := get(c, "mechanisms").(bson.A); ok {
		u.mechanisms = m
	}
	return bson.D{{Key: "ok", Value: 1}}
}
