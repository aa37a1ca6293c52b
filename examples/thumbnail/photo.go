//go:build ignore

// This program draws photo.jpg: hills at dusk, with enough fine texture that
// decoding it costs what a photograph costs. The same picture every time.
package main

import (
	"image"
	"image/color"
	"image/jpeg"
	"log"
	"math"
	"os"
)

const width, height = 1600, 1200

func main() {
	img := image.NewRGBA(image.Rect(0, 0, width, height))
	for y := range height {
		for x := range width {
			img.SetRGBA(x, y, pixel(float64(x)/width, float64(y)/height, grain(x, y)))
		}
	}
	file, err := os.Create("photo.jpg")
	if err != nil {
		log.Fatal(err)
	}
	if err := jpeg.Encode(file, img, &jpeg.Options{Quality: 60}); err != nil {
		log.Fatal(err)
	}
	if err := file.Close(); err != nil {
		log.Fatal(err)
	}
}

// pixel is the colour at x, y between 0 and 1: the farther a ridge, the paler.
func pixel(x, y, grain float64) color.RGBA {
	const ridges = 5
	for ridge := ridges - 1; ridge >= 0; ridge-- {
		depth := float64(ridge) / ridges
		if y > horizon(x, depth) {
			return shade(0.55-0.45*depth, 0.5-0.3*depth, 0.6-0.45*depth, grain*(0.02+0.1*depth))
		}
	}
	sun := math.Exp(-40 * ((x-0.68)*(x-0.68) + (y-0.3)*(y-0.3)))
	return shade(0.95-0.25*(1-y)+sun, 0.55-0.1*y+0.6*sun, 0.35+0.35*(1-y)+0.3*sun, grain*0.012)
}

func horizon(x, depth float64) float64 {
	return 0.45 + 0.5*depth + 0.06*math.Sin(x*(7+9*depth)+depth*20) + 0.02*math.Sin(x*(31+17*depth))
}

func shade(r, g, b, grain float64) color.RGBA {
	channel := func(v float64) uint8 { return uint8(255 * min(1, max(0, v+grain))) }
	return color.RGBA{channel(r), channel(g), channel(b), 0xff}
}

// grain is noise between -1 and 1 from an integer hash of the position.
func grain(x, y int) float64 {
	h := uint32(x)*0x9e3779b1 ^ uint32(y)*0x85ebca77
	h ^= h >> 15
	h *= 0x2c1b3c6d
	h ^= h >> 12
	h *= 0x297a2d39
	h ^= h >> 15
	return float64(h)/math.MaxUint32*2 - 1
}
