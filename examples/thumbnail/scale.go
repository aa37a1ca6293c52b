package main

import (
	"image"
	"image/color"
)

// channels are red, green and blue: a photograph has no transparency.
const channels = 3

// raster is an image as rows of interleaved red, green and blue samples.
type raster struct {
	width, height int
	samples       []uint8
}

// toRGB converts img once, so that each scaling reads plain memory.
func toRGB(img image.Image) raster {
	bounds := img.Bounds()
	out := raster{width: bounds.Dx(), height: bounds.Dy()}
	out.samples = make([]uint8, 0, out.width*out.height*channels)
	ycbcr, isYCbCr := img.(*image.YCbCr)
	for y := bounds.Min.Y; y < bounds.Max.Y; y++ {
		for x := bounds.Min.X; x < bounds.Max.X; x++ {
			if isYCbCr { // what JPEG decodes to; At would allocate for each pixel
				c := ycbcr.YCbCrAt(x, y)
				r, g, b := color.YCbCrToRGB(c.Y, c.Cb, c.Cr)
				out.samples = append(out.samples, r, g, b)
				continue
			}
			r, g, b, _ := img.At(x, y).RGBA()
			out.samples = append(out.samples, uint8(r>>8), uint8(g>>8), uint8(b>>8))
		}
	}
	return out
}

// scale returns r at the given width in its own proportions. It is a box
// filter: a pixel is the mean of all source pixels it covers, of those at its
// edge only the share that it covers. Every source pixel counts, so the cost
// is that of the source and hardly depends on the result's size.
func (r raster) scale(width int) *image.RGBA {
	height := max(1, (r.height*width+r.width/2)/r.width)
	columns := spans(r.width, width)
	rows := spans(r.height, height)
	out := image.NewRGBA(image.Rect(0, 0, width, height))
	sums := make([]float32, width*channels)
	for y, row := range rows {
		clear(sums)
		for i, weight := range row.weights {
			r.addRow(sums, row.first+i, weight, columns)
		}
		store(out.Pix[y*out.Stride:][:width*4], sums)
	}
	return out
}

// addRow adds one source row, with a weight, to the sums of a result row.
func (r raster) addRow(sums []float32, y int, weight float32, columns []span) {
	line := r.samples[y*r.width*channels:][:r.width*channels]
	for x, column := range columns {
		var red, green, blue float32
		at := column.first * channels
		for _, w := range column.weights {
			red += w * float32(line[at])
			green += w * float32(line[at+1])
			blue += w * float32(line[at+2])
			at += channels
		}
		sum := sums[x*channels:][:channels]
		sum[0] += weight * red
		sum[1] += weight * green
		sum[2] += weight * blue
	}
}

func store(pix []uint8, sums []float32) {
	for x := 0; x*channels < len(sums); x++ {
		sum, p := sums[x*channels:][:channels], pix[x*4:][:4]
		p[0], p[1], p[2], p[3] = uint8(sum[0]+0.5), uint8(sum[1]+0.5), uint8(sum[2]+0.5), 0xff
	}
}

// span is the run of source positions that one result position covers, with
// the share that each contributes. The shares add up to one.
type span struct {
	first   int
	weights []float32
}

// spans divides from source positions into to equal parts.
func spans(from, to int) []span {
	out := make([]span, to)
	ratio := float64(from) / float64(to)
	for i := range out {
		begin, end := float64(i)*ratio, min(float64(i+1)*ratio, float64(from))
		first := int(begin)
		out[i].first = first
		for at := first; float64(at) < end && at < from; at++ {
			covered := min(end, float64(at+1)) - max(begin, float64(at))
			out[i].weights = append(out[i].weights, float32(covered/ratio))
		}
	}
	return out
}
