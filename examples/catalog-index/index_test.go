package main

import (
	"slices"
	"strings"
	"testing"
)

func TestSearchFindsWhatAScanFinds(t *testing.T) {
	ix := buildIndex(3000)
	for _, query := range []string{"blue ceramic mug", "oak", "Grey  Tray", "bobada baba", "nothing-has-this", ""} {
		var want []string
		for _, p := range ix.products {
			if hasAll(p, query) {
				want = append(want, p.sku)
			}
		}
		got := ix.search(query)
		var skus []string
		for _, h := range got.Hits {
			skus = append(skus, h.SKU)
		}
		if got.Found != len(want) || !slices.Equal(skus, want[:min(len(want), maxHits)]) {
			t.Errorf("%q: found %d %v, want %d", query, got.Found, skus, len(want))
		}
	}
}

// hasAll is the definition of a match, without an index.
func hasAll(p product, query string) bool {
	words := strings.Fields(strings.ToLower(query))
	have := strings.Fields(p.name + " " + p.keywords)
	for _, word := range words {
		if !slices.Contains(have, word) {
			return false
		}
	}
	return len(words) > 0
}

func TestCatalogueIsAlwaysTheSame(t *testing.T) {
	a, b := buildIndex(50), buildIndex(50)
	if !slices.Equal(a.products, b.products) {
		t.Error("two catalogues of one size differ")
	}
}
