// Command awsfunction is a function over AWS's own runtime client, as users
// write them. It enables SIGTERM, which registers an internal extension.
package main

import (
	"context"
	"fmt"

	"github.com/aws/aws-lambda-go/lambda"
	"github.com/aws/aws-lambda-go/lambdacontext"
)

func handle(ctx context.Context, event map[string]any) (map[string]any, error) {
	if event["fail"] != nil {
		return nil, fmt.Errorf("failed as told")
	}
	lc, _ := lambdacontext.FromContext(ctx)
	deadline, ok := ctx.Deadline()
	return map[string]any{
		"event": event, "requestId": lc.AwsRequestID, "arn": lc.InvokedFunctionArn, "hasDeadline": ok && !deadline.IsZero(),
		"memory": lambdacontext.MemoryLimitInMB, "name": lambdacontext.FunctionName, "version": lambdacontext.FunctionVersion,
		"stream": lambdacontext.LogStreamName,
	}, nil
}

func main() {
	lambda.StartWithOptions(handle, lambda.WithEnableSIGTERM(func() { fmt.Println("handler got SIGTERM") }))
}
