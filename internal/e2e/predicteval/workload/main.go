// Command workload is a Lambda function with many kinds of work, by which the
// prediction of memory sizes is evaluated. The work is fixed, not its time: it
// needs about as many milliseconds as it says on a core of 2025.
package main

import (
	"bytes"
	"compress/gzip"
	"context"
	"crypto/sha256"
	"encoding/json"
	"fmt"
	"html/template"
	"image"
	"image/color"
	"image/jpeg"
	"io"
	"net/http"
	"os"
	"sort"
	"sync"
	"syscall"
	"time"

	"github.com/aws/aws-lambda-go/lambda"
)

type request struct {
	// Do names the work.
	Do string `json:"do"`
}

// response says what the process had used, by its own account, when the request
// came: the next one less this one is what this one used, with what the runtime
// client did for it.
type response struct {
	CPUMS float64 `json:"cpu_ms"`
}

var work = map[string]func() error{
	"compute":  func() error { spin(28); return nil },
	"small":    func() error { spin(1); return nil },
	"medium":   func() error { spin(9); return nil },
	"parallel": func() error { return together(2, func() error { spin(18); return nil }) },
	"amdahl": func() error {
		spin(10)
		return together(2, func() error { spin(9); return nil })
	},
	"wait": func() error { return fetch(60) },
	"mix": func() error {
		for range 2 {
			if err := fetch(20); err != nil {
				return err
			}
			spin(8)
		}
		return nil
	},
	"overlap": func() error {
		fetched := make(chan error, 1)
		go func() { fetched <- fetch(50) }()
		spin(16)
		return <-fetched
	},
	"fanout":   func() error { return together(8, func() error { return fetch(25) }) },
	"resize":   resize,
	"compress": compress,
	"template": render,
	"garbage":  garbage,
	"index":    index,
}

func main() { lambda.Start(handle) }

func handle(_ context.Context, req request) (response, error) {
	f := work[req.Do]
	if f == nil {
		return response{}, fmt.Errorf("there is no work %q", req.Do)
	}
	used := cpu()
	return response{1000 * used.Seconds()}, f()
}

func cpu() time.Duration {
	var u syscall.Rusage
	_ = syscall.Getrusage(syscall.RUSAGE_SELF, &u) // it has no way to fail
	return time.Duration(u.Utime.Nano() + u.Stime.Nano())
}

// spin computes for about a millisecond, so many times.
func spin(times int) {
	block := make([]byte, 64)
	for range times * 8_600 {
		sum := sha256.Sum256(block)
		copy(block, sum[:])
	}
}

func together(n int, f func() error) error {
	var wg sync.WaitGroup
	errs := make([]error, n)
	for i := range n {
		wg.Go(func() { errs[i] = f() })
	}
	wg.Wait()
	for _, err := range errs {
		if err != nil {
			return err
		}
	}
	return nil
}

// fetch asks a service that takes so many milliseconds.
func fetch(ms int) error {
	res, err := http.Get(fmt.Sprintf("%s?ms=%d", os.Getenv("SERVICE_URL"), ms))
	if err != nil {
		return err
	}
	defer res.Body.Close()
	var items []map[string]any
	if err := json.NewDecoder(res.Body).Decode(&items); err != nil {
		return fmt.Errorf("answer of the service: %w", err)
	}
	_, err = io.Copy(io.Discard, res.Body)
	return err
}

var photo = func() []byte {
	img := image.NewRGBA(image.Rect(0, 0, 1200, 900))
	for y := range 900 {
		for x := range 1200 {
			img.Set(x, y, color.RGBA{uint8(x), uint8(y), uint8(x * y), 255})
		}
	}
	var b bytes.Buffer
	_ = jpeg.Encode(&b, img, nil)
	return b.Bytes()
}()

func resize() error {
	img, err := jpeg.Decode(bytes.NewReader(photo))
	if err != nil {
		return err
	}
	small := image.NewRGBA(image.Rect(0, 0, 200, 150))
	for y := range 150 {
		for x := range 200 {
			small.Set(x, y, img.At(4*x, 4*y))
		}
	}
	return jpeg.Encode(io.Discard, small, nil)
}

var text = bytes.Repeat([]byte("It was the best of times, it was the worst of times. "), 90_000)

func compress() error {
	w := gzip.NewWriter(io.Discard)
	_, err := w.Write(text)
	return err
}

var page = template.Must(template.New("").Parse(`<ul>{{range .}}<li class="{{.A}}">{{.B}} of {{.C}}</li>{{end}}</ul>`))

func render() error {
	type row struct {
		A, B string
		C    int
	}
	rows := make([]row, 4500)
	for i := range rows {
		rows[i] = row{"item", fmt.Sprintf("<%d>", i), i}
	}
	return page.Execute(io.Discard, rows)
}

// held is what a function keeps between requests.
var held [][]byte

func garbage() error {
	if held == nil {
		for range 30_000 {
			held = append(held, make([]byte, 1<<10))
		}
	}
	for i := range 12_000 {
		held[i%len(held)] = make([]byte, 1<<10)
	}
	return nil
}

func index() error {
	words := map[string][]int{}
	for i := range 25_000 {
		w := fmt.Sprintf("word-%d", i*7919%9000)
		words[w] = append(words[w], i)
	}
	keys := make([]string, 0, len(words))
	for w := range words {
		keys = append(keys, w)
	}
	sort.Strings(keys)
	return nil
}
