// Command flaky is a Lambda function that fails in whichever way the event
// asks for, so that every outcome that Lambda tells apart can be seen:
//
//	{"mode": "ok"}       answers
//	{"mode": "error"}    returns an error, which the platform still calls a success
//	{"mode": "panic"}    panics: the runtime reports it and exits
//	{"mode": "exit"}     exits with status 1, without a word
//	{"mode": "timeout"}  computes until Lambda stops it
//	{"mode": "oom"}      takes memory until the kernel kills it
//
// The environment variable FLAKY_INIT takes "panic", "exit", "timeout" or
// "oom" and does the same during init, before the first invocation.
package main

import (
	"context"
	"crypto/sha256"
	"errors"
	"fmt"
	"os"
	"strconv"

	"github.com/aws/aws-lambda-go/lambda"
)

type request struct {
	Mode string `json:"mode"`
}

type response struct {
	Mode string `json:"mode"`
	// Invocation counts those of this environment, from 1: a failure that
	// resets the environment starts it again.
	Invocation int `json:"invocation"`
}

func main() {
	if mode := os.Getenv("FLAKY_INIT"); mode != "" {
		if err := misbehave(mode); err != nil {
			fmt.Fprintln(os.Stderr, "flaky: FLAKY_INIT:", err)
			os.Exit(1)
		}
	}
	var invocations int
	lambda.Start(func(_ context.Context, req request) (response, error) {
		invocations++
		if err := misbehave(req.Mode); err != nil {
			return response{}, err
		}
		return response{Mode: req.Mode, Invocation: invocations}, nil
	})
}

// errOutOfStock is what a handled failure looks like.
var errOutOfStock = errors.New("out of stock")

func misbehave(mode string) error {
	switch mode {
	case "ok":
		return nil
	case "error":
		return errOutOfStock
	case "panic":
		panic("flaky was asked to panic")
	case "exit":
		os.Exit(1)
	case "timeout":
		computeForever()
	case "oom":
		return exhaustMemory()
	}
	return fmt.Errorf("unknown mode %q", mode)
}

// computeForever ignores the invocation's context, as code that hangs does.
func computeForever() {
	sum := sha256.Sum256(nil)
	for {
		sum = sha256.Sum256(sum[:])
	}
}

// exhaustMemory takes twice the function's memory. Where no limit is enforced
// it stops there and says so, rather than take the machine's.
func exhaustMemory() error {
	limit, err := strconv.Atoi(os.Getenv("AWS_LAMBDA_FUNCTION_MEMORY_SIZE"))
	if err != nil {
		return fmt.Errorf("how much memory the function has: %w", err)
	}
	const megabyte, page = 1 << 20, 4096
	held := make([][]byte, 0, 2*limit)
	for range 2 * limit {
		block := make([]byte, megabyte)
		for i := 0; i < len(block); i += page {
			block[i] = 1 // memory that was never written takes no room
		}
		held = append(held, block)
	}
	return fmt.Errorf("took %d MB of %d MB and still runs: the memory limit is not enforced", len(held), limit)
}
