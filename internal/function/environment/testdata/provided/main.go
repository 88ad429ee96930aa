// Command provided is a Lambda function in Go for the tests: it answers who
// and where it is, and what it could get of the files it is asked to read.
package main

import (
	"context"
	"errors"
	"os"
	"strings"
	"syscall"

	"github.com/aws/aws-lambda-go/lambda"
	"github.com/aws/aws-lambda-go/lambdacontext"
)

type event struct {
	Fail  string   `json:"fail"`
	Files []string `json:"files"`
	PIDs  []int    `json:"pids"`
}

type answer struct {
	RequestID string   `json:"requestId"`
	ARN       string   `json:"arn"`
	Name      string   `json:"name"`
	Count     int      `json:"count"`
	Got       []string `json:"got"`
}

var count int

func handle(ctx context.Context, e event) (answer, error) {
	count++
	switch e.Fail {
	case "error":
		return answer{}, errors.New("boom")
	case "panic":
		panic("no way out")
	}
	lc, _ := lambdacontext.FromContext(ctx)
	a := answer{RequestID: lc.AwsRequestID, ARN: lc.InvokedFunctionArn, Name: lambdacontext.FunctionName, Count: count}
	for _, name := range e.Files {
		if text, err := os.ReadFile(name); err == nil {
			a.Got = append(a.Got, name+": "+string(text))
		}
		if f, err := os.OpenFile(name, os.O_WRONLY, 0); err == nil {
			f.Close()
			a.Got = append(a.Got, name+" writable")
		}
	}
	for _, pid := range e.PIDs {
		if syscall.Kill(pid, 0) == nil {
			a.Got = append(a.Got, "signal permitted")
		}
		if syscall.PtraceAttach(pid) == nil {
			a.Got = append(a.Got, "ptrace permitted")
		}
	}
	if err := os.WriteFile("/tmp/x", []byte(strings.Repeat("x", 10)), 0o600); err != nil {
		return a, err
	}
	return a, nil
}

func main() { lambda.Start(handle) }
