package mongo

import (
	"bytes"
	"context"

	"go.mongodb.org/mongo-driver/v2/bson"

	"github.com/keyturn/keyturn/internal/rotator"
)

// user is what a server tells of a user, and what a clone has alike.
type user struct {
	Roles        bson.A        `bson:"roles"`
	CustomData   bson.Raw      `bson:"customData"`
	Restrictions bson.RawValue `bson:"authenticationRestrictions"`
	Mechanisms   []string      `bson:"mechanisms"`
}

// user looks a user up; nil when there is none.
func (s *session) user(ctx context.Context, name string) (*user, error) {
	command := bson.D{{Key: "usersInfo", Value: bson.D{{Key: "user", Value: name}, {Key: "db", Value: s.database()}}}}
	var found struct {
		Users []*user `bson:"users"`
	}
	err := s.run(ctx, s.database(), append(command, bson.E{Key: "showAuthenticationRestrictions", Value: true}), &found)
	if f, ok := err.(*rotator.Failure); ok && (f.Cause == rotator.CauseOther || f.Cause == rotator.CausePermission) {
		// DocumentDB does not know the option, and a user may see itself but
		// perhaps not this.
		err = s.run(ctx, s.database(), command, &found)
	}
	if err != nil || len(found.Users) == 0 {
		return nil, err
	}
	return found.Users[0], nil
}

// original looks up the user that a clone is made of.
func (s *session) original(ctx context.Context, from rotator.Login) (*user, error) {
	u, err := s.user(ctx, from.Username)
	if err == nil && u == nil {
		return nil, rotator.NewFailure(rotator.CauseMissingUser, "",
			"user "+from.Username+" does not exist in the database "+s.database(), nil)
	}
	return u, err
}

// grants are the members of a command that give a user what this one has.
func (u *user) grants() bson.D {
	roles := u.Roles
	if roles == nil {
		roles = bson.A{} // the member is needed, and may be empty
	}
	d := bson.D{{Key: "roles", Value: roles}}
	if len(u.CustomData) > 0 {
		d = append(d, bson.E{Key: "customData", Value: u.CustomData})
	}
	if rules, ok := u.Restrictions.ArrayOK(); ok && len(rules) > emptyArray {
		d = append(d, bson.E{Key: "authenticationRestrictions", Value: u.Restrictions})
	}
	return d
}

// emptyArray is the length in bytes of a BSON array without elements.
const emptyArray = 5

// sameAs tells whether two users may do the same.
func (u *user) sameAs(other *user) bool {
	mine, err := bson.Marshal(u.grants())
	if err != nil {
		return false
	}
	theirs, err := bson.Marshal(other.grants())
	return err == nil && bytes.Equal(mine, theirs)
}
