// Command thumbnail is a Lambda function that computes: it decodes a
// photograph, scales it to the sizes that the event asks for, and encodes each
// as JPEG. One goroutine does all of it, so more memory makes it faster up to
// one vCPU (1769 MB) and no further.
package main

import (
	"bytes"
	"context"
	"crypto/sha256"
	_ "embed"
	"encoding/hex"
	"errors"
	"fmt"
	"image"
	"image/jpeg"

	"github.com/aws/aws-lambda-go/lambda"
)

// photo.jpg is drawn by photo.go. A real function would fetch it from S3, and
// would then also wait; this one is to show computing alone.
//
//go:generate go run photo.go
//go:embed photo.jpg
var photo []byte

const (
	quality = 80
	minSize = 8
	maxSize = 2048
	// inlineSize is the widest thumbnail that the answer carries itself.
	inlineSize = 128
)

type request struct {
	// Sizes are the widths of the thumbnails in pixels.
	Sizes []int `json:"sizes"`
}

type thumbnail struct {
	Width  int    `json:"width"`
	Height int    `json:"height"`
	Bytes  int    `json:"bytes"`
	SHA256 string `json:"sha256"`
	// JPEG is the thumbnail itself when it is a small one.
	JPEG []byte `json:"jpeg,omitempty"`
}

type response struct {
	Thumbnails []thumbnail `json:"thumbnails"`
}

func main() { lambda.Start(handle) }

func handle(_ context.Context, req request) (response, error) {
	if len(req.Sizes) == 0 {
		return response{}, errors.New(`the event has no "sizes"`)
	}
	source, err := jpeg.Decode(bytes.NewReader(photo))
	if err != nil {
		return response{}, fmt.Errorf("decode photo: %w", err)
	}
	pixels := toRGB(source)
	var resp response
	for _, width := range req.Sizes {
		if width < minSize || width > maxSize {
			return response{}, fmt.Errorf("size %d is not between %d and %d", width, minSize, maxSize)
		}
		small, err := encode(pixels.scale(width))
		if err != nil {
			return response{}, err
		}
		resp.Thumbnails = append(resp.Thumbnails, small)
	}
	return resp, nil
}

func encode(img *image.RGBA) (thumbnail, error) {
	var buf bytes.Buffer
	if err := jpeg.Encode(&buf, img, &jpeg.Options{Quality: quality}); err != nil {
		return thumbnail{}, fmt.Errorf("encode thumbnail: %w", err)
	}
	sum := sha256.Sum256(buf.Bytes())
	t := thumbnail{
		Width:  img.Rect.Dx(),
		Height: img.Rect.Dy(),
		Bytes:  buf.Len(),
		SHA256: hex.EncodeToString(sum[:]),
	}
	if t.Width <= inlineSize {
		t.JPEG = buf.Bytes()
	}
	return t, nil
}
