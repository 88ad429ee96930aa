package probe

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"

	"github.com/aws/aws-sdk-go-v2/service/lambda"
	"github.com/aws/aws-sdk-go-v2/service/lambda/types"

	core "github.com/keyturn/keyturn/internal/rotator/probe"
)

// invoke sends the event that only built-in rotators know. It has no token:
// functions that take it for a step refuse it.
func invoke(ctx context.Context, client *lambda.Client, function, secret string) ([]core.Result, error) {
	payload, err := json.Marshal(map[string]string{"Step": core.Step, "SecretId": secret})
	if err != nil {
		return nil, fmt.Errorf("writing the probe's event: %w", err)
	}
	out, err := client.Invoke(ctx, &lambda.InvokeInput{FunctionName: &function, Payload: payload, InvocationType: types.InvocationTypeRequestResponse})
	if err != nil {
		return nil, err
	}
	if out.FunctionError != nil {
		return nil, refusal(out.Payload)
	}
	// What is no probe's answer is of a function that does something else.
	results := []core.Result{}
	if err := json.Unmarshal(out.Payload, &results); err != nil || results == nil {
		return nil, errors.New("the function's answer is none to a probe: it is of another version")
	}
	return results, nil
}

// refusal is the function's own word.
func refusal(payload []byte) error {
	var said struct {
		Type    string `json:"errorType"`
		Message string `json:"errorMessage"`
	}
	if json.Unmarshal(payload, &said) != nil || said.Message == "" {
		return errors.New("the function failed")
	}
	return fmt.Errorf("the function answers: %s: %s", said.Type, said.Message)
}
