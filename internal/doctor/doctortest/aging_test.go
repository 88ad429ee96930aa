package doctortest

import (
	"time"

	"github.com/aws/aws-sdk-go-v2/service/lambda"
	lambdatypes "github.com/aws/aws-sdk-go-v2/service/lambda/types"

	"github.com/keyturn/keyturn/internal/apitest"
)

// aged is a patient whose function has an old runtime.
func aged(runtime string) plan {
	return plan{code: plain, edit: func(f *apitest.Function) { f.Runtime = runtime }}
}

// agingFaults are those of functions that rotate well and will not for ever.
func agingFaults() []fault {
	// From then on no function can be made with these runtimes, here as on AWS.
	if time.Now().After(time.Date(2027, 2, 1, 0, 0, 0, 0, time.UTC)) {
		return nil
	}
	renew := func(p *patient) {
		p.reconfigure(lambda.UpdateFunctionConfigurationInput{Runtime: lambdatypes.RuntimePython312})
	}
	return []fault{
		{name: "the runtime is out of support", code: "D50", plan: aged("python3.8"), act: (*patient).rotates, cure: renew},
		{name: "the function runs on Python 3.9", code: "D51", plan: aged("python3.9"), act: (*patient).rotates, cure: renew},
	}
}
