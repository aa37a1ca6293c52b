package main

import (
	"image"
	"image/color"
	"math"
	"testing"
)

// checkered is an image of two by two pixels in the corners' colours.
func checkered() image.Image {
	img := image.NewRGBA(image.Rect(0, 0, 2, 2))
	img.Set(0, 0, color.RGBA{200, 0, 0, 255})
	img.Set(1, 0, color.RGBA{100, 0, 40, 255})
	img.Set(0, 1, color.RGBA{0, 80, 0, 255})
	img.Set(1, 1, color.RGBA{0, 0, 0, 255})
	return img
}

func TestScaleIsTheMean(t *testing.T) {
	got := toRGB(checkered()).scale(1).RGBAAt(0, 0)
	if want := (color.RGBA{75, 20, 10, 255}); got != want {
		t.Errorf("got %v, want %v", got, want)
	}
}

func TestScaleToItself(t *testing.T) {
	want := checkered()
	got := toRGB(want).scale(2)
	for y := range 2 {
		for x := range 2 {
			if got.At(x, y) != want.At(x, y) {
				t.Errorf("at %d,%d: got %v, want %v", x, y, got.At(x, y), want.At(x, y))
			}
		}
	}
}

func TestScaleKeepsProportions(t *testing.T) {
	f := func(width, height, to, want int) {
		t.Helper()
		got := toRGB(image.NewYCbCr(image.Rect(0, 0, width, height), image.YCbCrSubsampleRatio420)).scale(to)
		if got.Rect.Dx() != to || got.Rect.Dy() != want {
			t.Errorf("%dx%d to width %d: %v", width, height, to, got.Rect)
		}
	}
	f(1600, 1200, 128, 96)
	f(10, 7, 3, 2)
	f(1000, 1, 10, 1)
	f(4, 3, 8, 6) // larger than the source
}

func TestSpansCoverEverythingOnce(t *testing.T) {
	f := func(from, to int) {
		t.Helper()
		share := make([]float64, from) // of each source position, in result positions
		for i, s := range spans(from, to) {
			var sum float64
			for j, w := range s.weights {
				sum += float64(w)
				share[s.first+j] += float64(w)
			}
			if math.Abs(sum-1) > 1e-5 {
				t.Errorf("%d to %d: the weights of %d add up to %v", from, to, i, sum)
			}
		}
		for i, got := range share {
			if want := float64(to) / float64(from); math.Abs(got-want) > 1e-5*want {
				t.Errorf("%d to %d: position %d counts %v times, want %v", from, to, i, got, want)
			}
		}
	}
	f(1600, 1280)
	f(1600, 7)
	f(7, 7)
	f(3, 8)
}
