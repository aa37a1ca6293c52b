// Package pricing knows what AWS Lambda costs: on-demand duration and requests,
// by region and architecture, from a price list that is embedded with its date.
//
// It refuses rather than guesses. A region that is not listed has no price, and
// every price says on what it stands; see [Basis].
package pricing

import (
	_ "embed"
	"encoding/json"
	"fmt"
	"slices"
	"strings"
)

//go:embed lambda-pricing.json
var embedded []byte

// Date is the day of the price list that is embedded.
const Date = "2026-09-19"

// Basis says on what a price stands.
type Basis string

// Bases.
const (
	// PriceList is AWS's own price list for that region.
	PriceList Basis = "price list"
	// RegionalList is a published regional price that differs from the default.
	RegionalList Basis = "regional price"
	// AssumedDefault is the price that the major regions share. It was not
	// looked up for this region.
	AssumedDefault Basis = "assumed default regional price"
)

// Price is what running a function costs, in USD.
type Price struct {
	// PerGBSecond is the on-demand duration price of the first tier.
	PerGBSecond float64
	// PerRequest is the price of one request.
	PerRequest float64
	Basis      Basis
	Region     string
}

// PerMillion returns the cost of a million invocations of the given memory
// size and mean billed duration: requests and duration. Of the ceiling to whole
// milliseconds nothing is left to do when the billed durations are the
// platform's own.
func (p Price) PerMillion(memoryMB int64, meanBilledSeconds float64) float64 {
	return 1e6 * (p.PerRequest + p.PerGBSecond*float64(memoryMB)/1024*meanBilledSeconds)
}

// Table is a price list.
type Table struct {
	usEast1  region
	duration map[string]map[string]float64
	request  map[string]float64
}

type region struct {
	Request float64 `json:"request"`
	X86     arch    `json:"x86_64"`
	ARM     arch    `json:"arm64"`
}

type arch struct {
	Tiers []struct {
		PerGBSecond float64 `json:"per_gb_s"`
	} `json:"tiers"`
}

// Load reads the embedded price list.
func Load() (*Table, error) { return parse(embedded) }

func parse(data []byte) (*Table, error) {
	var file struct {
		USEast1  region                        `json:"us-east-1"`
		Duration map[string]map[string]float64 `json:"regional_duration_per_gb_s_tier1"`
		Request  map[string]float64            `json:"regional_request"`
	}
	if err := json.Unmarshal(data, &file); err != nil {
		return nil, fmt.Errorf("price list: %w", err)
	}
	if len(file.USEast1.X86.Tiers) == 0 || len(file.USEast1.ARM.Tiers) == 0 {
		return nil, fmt.Errorf("price list: us-east-1 has no duration price")
	}
	return &Table{usEast1: file.USEast1, duration: file.Duration, request: file.Request}, nil
}

// OnDemand returns the price of on-demand invocations in a region. The
// architecture is named as OpenTelemetry or as AWS does: amd64 or x86_64, arm64.
func (t *Table) OnDemand(regionName, archName string) (Price, error) {
	name, err := architecture(archName)
	if err != nil {
		return Price{}, err
	}
	if regionName == "us-east-1" {
		tiers := t.usEast1.X86.Tiers
		if name == "arm64" {
			tiers = t.usEast1.ARM.Tiers
		}
		return Price{tiers[0].PerGBSecond, t.usEast1.Request, PriceList, regionName}, nil
	}
	if prices, ok := t.duration[regionName]; ok && regionName != "default" {
		return Price{prices[name], t.requestPrice(regionName), RegionalList, regionName}, nil
	}
	if slices.Contains(defaultRegions(), regionName) {
		return Price{t.duration["default"][name], t.requestPrice(regionName), AssumedDefault, regionName}, nil
	}
	return Price{}, fmt.Errorf("no Lambda price is known for region %q", regionName)
}

func (t *Table) requestPrice(regionName string) float64 {
	if price, ok := t.request[regionName]; ok {
		return price
	}
	return t.request["default"]
}

func architecture(name string) (string, error) {
	switch strings.ToLower(name) {
	case "amd64", "x86_64", "x86-64":
		return "x86_64", nil
	case "arm64", "aarch64":
		return "arm64", nil
	}
	return "", fmt.Errorf("no Lambda price is known for architecture %q", name)
}

// defaultRegions are the major regions, which share one price. Regions that
// are not here may be dearer: ap-northeast-3 has been.
func defaultRegions() []string {
	return []string{
		"ap-northeast-1", "ap-northeast-2", "ap-south-1", "ap-southeast-1", "ap-southeast-2",
		"ca-central-1", "eu-central-1", "eu-north-1", "eu-west-1", "eu-west-2", "eu-west-3",
		"sa-east-1", "us-east-2", "us-west-1", "us-west-2",
	}
}
