package engine_test

import (
	"strings"
	"testing"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/service/cloudformation"
	"github.com/aws/aws-sdk-go-v2/service/cloudformation/types"
)

func exporter(value string) *string {
	return aws.String(`{"Resources":{"G":{"Type":"AWS::Logs::LogGroup"}},"Outputs":{"O":{"Value":"` + value + `","Export":{"Name":"shared"}}}}`)
}

const importer = `{"Resources":{"S":{"Type":"AWS::SecretsManager::Secret","Properties":{"Name":{"Ref":"AWS::StackName"},"Description":{"Fn::ImportValue":"shared"}}}}}`

func TestExports(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	ctx := t.Context()
	st := w.create(&cloudformation.CreateStackInput{StackName: aws.String("none"), TemplateBody: aws.String(importer)}, types.StackStatusRollbackComplete)
	if story := w.story("none"); !strings.Contains(story, "none ROLLBACK_IN_PROGRESS No export named shared found. Rollback requested by user.") {
		t.Errorf("got\n%s", story)
	}
	w.delete(*st.StackId)
	w.create(&cloudformation.CreateStackInput{StackName: aws.String("giver"), TemplateBody: exporter("one")}, types.StackStatusCreateComplete)
	other := w.create(&cloudformation.CreateStackInput{StackName: aws.String("rival"), TemplateBody: exporter("two")}, types.StackStatusRollbackComplete)
	if story := w.story("rival"); !strings.Contains(story, "rival ROLLBACK_IN_PROGRESS Export with name shared is already exported by stack giver. Rollback requested by user.") {
		t.Errorf("got\n%s", story)
	}
	w.delete(*other.StackId)
	list, err := w.Stacks.ListExports(ctx, &cloudformation.ListExportsInput{})
	if err != nil || len(list.Exports) != 1 || *list.Exports[0].Name != "shared" || *list.Exports[0].Value != "one" {
		t.Errorf("got %v, %v", list, err)
	}
	_, err = w.Stacks.ListImports(ctx, &cloudformation.ListImportsInput{ExportName: aws.String("shared")})
	refused(t, err, "ValidationError", "Export 'shared' is not imported by any stack.")

	w.create(&cloudformation.CreateStackInput{StackName: aws.String("taker"), TemplateBody: aws.String(importer)}, types.StackStatusCreateComplete)
	imports, err := w.Stacks.ListImports(ctx, &cloudformation.ListImportsInput{ExportName: aws.String("shared")})
	if err != nil || len(imports.Imports) != 1 || imports.Imports[0] != "taker" {
		t.Errorf("got %v, %v", imports, err)
	}
	_, err = w.Stacks.DeleteStack(ctx, &cloudformation.DeleteStackInput{StackName: aws.String("giver")})
	refused(t, err, "ValidationError", "Export shared cannot be deleted as it is in use by taker")
	for body, text := range map[*string]string{
		exporter("changed"): "Export shared cannot be updated as it is in use by taker. Rollback requested by user.",
		aws.String(`{"Resources":{"G":{"Type":"AWS::Logs::LogGroup"}}}`): "Export shared cannot be deleted as it is in use by taker. Rollback requested by user.",
	} {
		w.update(&cloudformation.UpdateStackInput{StackName: aws.String("giver"), TemplateBody: body}, types.StackStatusUpdateRollbackComplete)
		if story := w.story("giver"); !strings.Contains(story, "giver UPDATE_ROLLBACK_IN_PROGRESS "+text) {
			t.Errorf("got\n%s", story)
		}
	}
	// What is no longer imported may change and go.
	plain := strings.Replace(importer, `{"Fn::ImportValue":"shared"}`, `"plain"`, 1)
	w.update(&cloudformation.UpdateStackInput{StackName: aws.String("taker"), TemplateBody: &plain}, types.StackStatusUpdateComplete)
	w.update(&cloudformation.UpdateStackInput{StackName: aws.String("giver"), TemplateBody: exporter("changed")}, types.StackStatusUpdateComplete)
	w.update(&cloudformation.UpdateStackInput{StackName: aws.String("taker"), TemplateBody: aws.String(importer)}, types.StackStatusUpdateComplete)
	w.delete(*w.settled("taker").StackId)
	w.delete(*w.settled("giver").StackId)
	if list, err := w.Stacks.ListExports(ctx, &cloudformation.ListExportsInput{}); err != nil || len(list.Exports) != 0 {
		t.Errorf("got %v, %v", list, err)
	}
}

// What a stack exports is not to be had any more once its deletion has begun.
func TestExportOfDeletedStack(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	body := strings.TrimSuffix(chain(7, 100), "}") + `,"Outputs":{"O":{"Value":"one","Export":{"Name":"shared"}}}}`
	giver := w.create(&cloudformation.CreateStackInput{StackName: aws.String("giver"), TemplateBody: &body}, types.StackStatusCreateComplete)
	if _, err := w.Stacks.DeleteStack(t.Context(), &cloudformation.DeleteStackInput{StackName: giver.StackId}); err != nil {
		t.Fatal(err)
	}
	w.create(&cloudformation.CreateStackInput{StackName: aws.String("taker"), TemplateBody: aws.String(importer)}, types.StackStatusRollbackComplete)
	if story := w.story("taker"); !strings.Contains(story, "No export named shared found") {
		t.Errorf("got\n%s", story)
	}
	w.demand(*giver.StackId, types.StackStatusDeleteComplete)
}
