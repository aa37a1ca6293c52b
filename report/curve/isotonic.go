package curve

// isotonic returns the values nearest to v, in the sense of weighted least
// squares, that never rise: pool adjacent violators (M. Ayer et al., "An
// empirical distribution function for sampling with incomplete information",
// Annals of Mathematical Statistics 26, 1955). More memory makes no function
// slower, so what rises is noise.
func isotonic(v, weight []float64) []float64 {
	type block struct {
		mean, weight float64
		n            int
	}
	var blocks []block
	for i := range v {
		blocks = append(blocks, block{v[i], weight[i], 1})
		for n := len(blocks); n > 1 && blocks[n-2].mean < blocks[n-1].mean; n = len(blocks) {
			a, b := blocks[n-2], blocks[n-1]
			w := a.weight + b.weight
			blocks[n-2] = block{(a.mean*a.weight + b.mean*b.weight) / w, w, a.n + b.n}
			blocks = blocks[:n-1]
		}
	}
	var out []float64
	for _, b := range blocks {
		for range b.n {
			out = append(out, b.mean)
		}
	}
	return out
}
