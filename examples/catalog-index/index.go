package main

import (
	"fmt"
	"math/rand/v2"
	"slices"
	"strings"
)

type product struct {
	sku, name, keywords string
	// description is kept to be shown, and not searched.
	description string
}

// index finds products by the words of their names and by their keywords.
type index struct {
	products []product
	// postings has, for every word, the positions of its products, ascending.
	postings map[string][]uint32
}

// buildIndex makes the catalogue, always the same one for n, and indexes it.
func buildIndex(n int) *index {
	ix := &index{products: make([]product, 0, n), postings: make(map[string][]uint32)}
	source := newCatalogue()
	for i := range n {
		p := source.next(i)
		ix.products = append(ix.products, p)
		ix.add(uint32(i), p.name)
		ix.add(uint32(i), p.keywords)
	}
	return ix
}

func (ix *index) add(id uint32, text string) {
	for word := range strings.FieldsSeq(text) {
		list := ix.postings[word]
		if len(list) > 0 && list[len(list)-1] == id {
			continue // the word occurs twice in this product
		}
		ix.postings[word] = append(list, id)
	}
}

func (ix *index) search(query string) response {
	resp := response{Products: len(ix.products), Hits: []hit{}}
	words := strings.Fields(strings.ToLower(query))
	if len(words) == 0 {
		return resp
	}
	// From the rarest word on, the intermediate results stay small.
	slices.SortFunc(words, func(a, b string) int { return len(ix.postings[a]) - len(ix.postings[b]) })
	found := ix.postings[words[0]]
	for _, word := range words[1:] {
		found = intersect(found, ix.postings[word])
	}
	resp.Found = len(found)
	for _, id := range found[:min(len(found), maxHits)] {
		p := ix.products[id]
		resp.Hits = append(resp.Hits, hit{SKU: p.sku, Name: p.name, Description: p.description})
	}
	return resp
}

// intersect returns what is in both ascending lists.
func intersect(a, b []uint32) []uint32 {
	var out []uint32
	for len(a) > 0 && len(b) > 0 {
		switch {
		case a[0] < b[0]:
			a = a[1:]
		case a[0] > b[0]:
			b = b[1:]
		default:
			out = append(out, a[0])
			a, b = a[1:], b[1:]
		}
	}
	return out
}

// catalogue invents products from a fixed seed.
type catalogue struct {
	random           *rand.Rand
	words, sentences []string
}

func newCatalogue() *catalogue {
	c := &catalogue{random: rand.New(rand.NewPCG(1769, 128))}
	syllables := strings.Fields("ba be bo da de do fa fi ga go ka ki la lo ma mi na no pa pe ra ri sa so ta te va vi wa zo")
	for _, a := range syllables {
		for _, b := range syllables {
			c.words = append(c.words, a+b, a+b+syllables[len(c.words)%len(syllables)])
		}
	}
	const sentences, wordsInSentence = 100, 18
	for range sentences {
		c.sentences = append(c.sentences, c.pick(c.words, wordsInSentence)+".")
	}
	return c
}

func (c *catalogue) next(i int) product {
	colour := c.pick([]string{"blue", "green", "red", "white", "black", "grey"}, 1)
	material := c.pick([]string{"ceramic", "oak", "steel", "linen", "glass"}, 1)
	thing := c.pick([]string{"mug", "kettle", "chair", "lamp", "bowl", "shelf", "tray"}, 1)
	return product{
		sku:         fmt.Sprintf("SKU-%07d", i),
		name:        colour + " " + material + " " + thing,
		keywords:    c.pick(c.words, 8),
		description: c.pick(c.sentences, 5),
	}
}

// pick joins n random strings.
func (c *catalogue) pick(from []string, n int) string {
	picked := make([]string, n)
	for i := range picked {
		picked[i] = from[c.random.IntN(len(from))]
	}
	return strings.Join(picked, " ")
}
