// Command catalog-index is a Lambda function that needs memory: it builds a
// full-text index over a product catalogue and keeps it for the invocations
// that follow. The event says how large the catalogue is, and so whether the
// function fits into its memory or is killed.
//
// The index is built by the first invocation that needs it, not during init:
// whoever comes first waits for it. That is how much code is written, and what
// Thaw calls the first-invoke penalty.
package main

import (
	"context"
	"fmt"

	"github.com/aws/aws-lambda-go/lambda"
)

const (
	maxProducts = 2_000_000
	maxHits     = 5
)

type request struct {
	// Products is the size of the catalogue. 220000 take about 200 MB.
	Products int `json:"products"`
	// Query is what to look for: products that have all of its words.
	Query string `json:"query"`
}

type response struct {
	Products int `json:"products"`
	// Found is how many products match, Hits are the first of them.
	Found int   `json:"found"`
	Hits  []hit `json:"hits"`
	// Built says that this invocation had to build the index.
	Built bool `json:"built"`
}

type hit struct {
	SKU         string `json:"sku"`
	Name        string `json:"name"`
	Description string `json:"description"`
}

func main() {
	var kept *index // Lambda runs one invocation at a time in an environment
	lambda.Start(func(_ context.Context, req request) (response, error) {
		if req.Products < 1 || req.Products > maxProducts {
			return response{}, fmt.Errorf("products is %d, not between 1 and %d", req.Products, maxProducts)
		}
		built := kept == nil || len(kept.products) != req.Products
		if built {
			kept = nil // two at once would need twice the memory
			kept = buildIndex(req.Products)
		}
		resp := kept.search(req.Query)
		resp.Built = built
		return resp, nil
	})
}
