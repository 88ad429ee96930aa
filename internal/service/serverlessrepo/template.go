package serverlessrepo

import (
	"context"
	"crypto/sha256"
	"encoding/binary"
	"strconv"
	"strings"
	"time"

	"github.com/google/uuid"

	api "github.com/keyturn/keyturn/internal/api/serverlessrepo"
	"github.com/keyturn/keyturn/internal/application"
	"github.com/keyturn/keyturn/internal/fault"
	"github.com/keyturn/keyturn/internal/wire"
)

// templateLife is how long a template can be asked for by its ID (AWS docs).
const templateLife = 6 * time.Hour

// template is one that was made: what its ID says. Nothing is stored, for the
// template itself is always there.
type template struct {
	app     *application.Application
	version string
	at      time.Time // to the millisecond
}

// id is a UUID (version 8, whose content is free) that holds the time, the
// last number of the version and a check of these and the application.
func (t template) id() string {
	var u uuid.UUID
	ms := uint64(t.at.UnixMilli())
	binary.BigEndian.PutUint64(u[:8], ms<<16)
	u[6], u[8] = 0x80, 0x80
	last, _ := strconv.ParseUint(t.version[strings.LastIndexByte(t.version, '.')+1:], 10, 32) // Has has seen it
	binary.BigEndian.PutUint32(u[9:13], uint32(last))
	sum := sha256.Sum256(append([]byte(t.app.Name+"\x00"), u[:13]...))
	copy(u[13:], sum[:3])
	u[7] = sum[3]
	return u.String()
}

// open reads an ID of the application's; false for one that was not made for
// it.
func open(app *application.Application, id string) (template, bool) {
	u, err := uuid.Parse(id)
	if err != nil {
		return template{}, false
	}
	ms := binary.BigEndian.Uint64(u[:8]) >> 16
	t := template{app, "1.1." + strconv.FormatUint(uint64(binary.BigEndian.Uint32(u[9:13])), 10), time.UnixMilli(int64(ms)).UTC()}
	return t, t.id() == strings.ToLower(id)
}

// Statuses of templates.
func (t template) status(now time.Time) string {
	if now.After(t.at.Add(templateLife)) {
		return api.StatusExpired
	}
	return api.StatusActive
}

func (t template) created() *string { return new(t.at.Format("2006-01-02T15:04:05.000Z")) }
func (t template) expires() *string {
	return new(t.at.Add(templateLife).Format("2006-01-02T15:04:05.000Z"))
}

// CreateCloudFormationTemplate makes the template of an application. Its
// status is PREPARING in the answer (AWS docs), and ACTIVE ever after.
func (s *Service) CreateCloudFormationTemplate(_ context.Context, call *wire.Call, in *api.CreateCloudFormationTemplateRequest) (*api.CreateCloudFormationTemplateResponse, error) {
	app, v, err := s.findVersion(call, *in.ApplicationId, in.SemanticVersion)
	if err != nil {
		return nil, err
	}
	t := template{app, v, time.Now().UTC()}
	return &api.CreateCloudFormationTemplateResponse{
		ApplicationId: in.ApplicationId, CreationTime: t.created(), ExpirationTime: t.expires(), SemanticVersion: &v,
		Status: new(api.StatusPreparing), TemplateId: new(t.id()), TemplateUrl: new(s.templateURL(app, v)),
	}, nil
}

// GetCloudFormationTemplate returns a template that was made.
func (s *Service) GetCloudFormationTemplate(_ context.Context, call *wire.Call, in *api.GetCloudFormationTemplateRequest) (*api.GetCloudFormationTemplateResponse, error) {
	app, err := s.find(call, *in.ApplicationId)
	if err != nil {
		return nil, err
	}
	t, err := made(app, *in.TemplateId)
	if err != nil {
		return nil, err
	}
	return &api.GetCloudFormationTemplateResponse{
		ApplicationId: in.ApplicationId, CreationTime: t.created(), ExpirationTime: t.expires(), SemanticVersion: &t.version,
		Status: new(t.status(time.Now())), TemplateId: in.TemplateId, TemplateUrl: new(s.templateURL(app, t.version)),
	}, nil
}

// made finds a template by its ID.
func made(app *application.Application, id string) (template, error) {
	t, ok := open(app, id)
	if !ok { // assumed
		return t, fault.New(fault.NotFound, "Template not found: %s", id)
	}
	return t, nil
}
