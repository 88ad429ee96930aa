package rabbitmq

import (
	"crypto/tls"
	"encoding/json"
	"errors"
	"fmt"
	"net/http"
	"strconv"
	"strings"

	amqp "github.com/rabbitmq/amqp091-go"

	"github.com/keyturn/keyturn/internal/rotator"
)

var errTLS = errors.New("the server's port takes only SSL/TLS connections")

// noVhost tells that a login was taken, but not the vhost.
func noVhost(err error) bool {
	e, ok := errors.AsType[*amqp.Error](err)
	return ok && e.Server && e.Code == amqp.NotAllowed && causeOfReason(e.Reason) == rotator.CauseDatabase
}

// refusal classifies a failure; nil stays nil.
func refusal(err error) error {
	if err == nil {
		return nil
	}
	return classify(err)
}

// classify sorts failures of AMQP, and of connections of both kinds.
func classify(err error) *rotator.Failure {
	if errors.Is(err, errTLS) {
		return rotator.NewFailure(rotator.CauseTLSRequired, "", err.Error(), err)
	}
	_, plain := errors.AsType[tls.RecordHeaderError](err)
	if plain || strings.Contains(err.Error(), "server gave HTTP response to HTTPS client") {
		return rotator.NewFailure(rotator.CauseTLS, "", "SSL/TLS is not enabled on the server's port", err)
	}
	e, ok := errors.AsType[*amqp.Error](err)
	if !ok {
		return rotator.Classify(err)
	}
	code := strconv.Itoa(e.Code)
	switch {
	case !e.Server && (e.Code == amqp.FrameError || e.Code == amqp.AccessRefused):
		return rotator.NewFailure(rotator.CauseUnavailable, "", "the server broke the connection off, or its port does not speak AMQP", err)
	case e.Code == amqp.AccessRefused:
		return rotator.NewFailure(rotator.CauseAuthentication, code, e.Reason, err)
	case e.Code == amqp.NotAllowed:
		return rotator.NewFailure(causeOfReason(e.Reason), code, e.Reason, err)
	case e.Code == amqp.ConnectionForced, e.Code == amqp.InternalError:
		return rotator.NewFailure(rotator.CauseUnavailable, code, e.Reason, err)
	}
	return rotator.NewFailure(rotator.CauseOther, code, e.Reason, err)
}

// causeOfReason tells refusals of connection.open apart, which share a code.
func causeOfReason(reason string) rotator.Cause {
	switch {
	case strings.Contains(reason, "limit ("):
		return rotator.CauseConnections
	case strings.Contains(reason, "is down"):
		return rotator.CauseUnavailable
	}
	return rotator.CauseDatabase
}

// answered sorts the management API's refusals. Their own text is not kept:
// it might repeat the request.
func answered(status int, body []byte) *rotator.Failure {
	var said struct{ Reason json.RawMessage }
	_ = json.Unmarshal(body, &said) // an answer without a reason has a status
	reason := strings.Trim(string(said.Reason), `"`)
	code := fmt.Sprintf("HTTP %d", status)
	failure := func(cause rotator.Cause, text string) *rotator.Failure {
		return rotator.NewFailure(cause, code, text, nil)
	}
	switch {
	case status == http.StatusUnauthorized && strings.HasPrefix(reason, "Not "), status == http.StatusForbidden:
		return failure(rotator.CausePermission, "the user is no administrator")
	case status == http.StatusUnauthorized:
		return failure(rotator.CauseAuthentication, "the name or the password was refused")
	case status == http.StatusNotFound, reason == "vhost_or_user_not_found":
		return failure(rotator.CauseMissingUser, "not found")
	case reason == "credential_validation_failed":
		return failure(rotator.CausePolicy, "the server's credential validator refuses the password")
	case status == http.StatusTooManyRequests:
		return failure(rotator.CauseConnections, "too many requests")
	case status >= http.StatusInternalServerError:
		return failure(rotator.CauseUnavailable, "the server is not ready")
	}
	return failure(rotator.CauseOther, http.StatusText(status))
}

func causeOf(err error) rotator.Cause {
	f, ok := errors.AsType[*rotator.Failure](err)
	if !ok {
		return ""
	}
	return f.Cause
}
