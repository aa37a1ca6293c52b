// Package priceapi is the remote service that the checkout example waits for:
// a small HTTP API for prices and taxes that thinks for a while before it
// answers, as a service on the other side of a network does.
//
//	GET /prices?sku=TEA-01&sku=MUG-07   {"TEA-01":"4.20","MUG-07":"12.90"}
//	GET /taxes?country=NL               {"country":"NL","rate":"0.21"}
//
// Amounts are strings, because they are decimals. A price depends on nothing
// but its SKU.
package priceapi

import (
	"encoding/json"
	"fmt"
	"hash/fnv"
	"net/http"
	"time"
)

// ThinkTime is how long every answer takes.
const ThinkTime = 40 * time.Millisecond

// maxSKUs bounds what one request may ask for.
const maxSKUs = 100

// Handler returns the API.
func Handler() http.Handler {
	mux := http.NewServeMux()
	mux.HandleFunc("GET /prices", prices)
	mux.HandleFunc("GET /taxes", taxes)
	return think(mux)
}

// think delays next, unless the client goes away before.
func think(next http.Handler) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		timer := time.NewTimer(ThinkTime)
		defer timer.Stop()
		select {
		case <-timer.C:
			next.ServeHTTP(w, r)
		case <-r.Context().Done():
		}
	})
}

func prices(w http.ResponseWriter, r *http.Request) {
	skus := r.URL.Query()["sku"]
	if len(skus) == 0 || len(skus) > maxSKUs {
		http.Error(w, fmt.Sprintf("want 1 to %d parameters sku, got %d", maxSKUs, len(skus)), http.StatusBadRequest)
		return
	}
	answer := make(map[string]string, len(skus))
	for _, sku := range skus {
		answer[sku] = price(sku)
	}
	reply(w, answer)
}

// price is between 1.00 and 99.99.
func price(sku string) string {
	hash := fnv.New32a()
	_, _ = hash.Write([]byte(sku)) // a hash never fails
	cents := 100 + hash.Sum32()%9900
	return fmt.Sprintf("%d.%02d", cents/100, cents%100)
}

func taxes(w http.ResponseWriter, r *http.Request) {
	rates := map[string]string{"BE": "0.21", "CH": "0.081", "DE": "0.19", "FR": "0.20", "NL": "0.21"}
	country := r.URL.Query().Get("country")
	rate, ok := rates[country]
	if !ok {
		http.Error(w, fmt.Sprintf("no tax rate for country %q", country), http.StatusNotFound)
		return
	}
	reply(w, map[string]string{"country": country, "rate": rate})
}

func reply(w http.ResponseWriter, answer any) {
	w.Header().Set("Content-Type", "application/json")
	// The client has gone away if this fails, and nobody is left to tell.
	_ = json.NewEncoder(w).Encode(answer)
}
