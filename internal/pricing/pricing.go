// Package pricing knows what AWS Lambda costs, by region and architecture, from
// a price list that is embedded with its date and can be replaced by AWS's own.
//
//	table.go  the embedded price list
//	offer.go  AWS's price list offer file, as [Table.Replace] reads it
//	rates.go  the prices of one region and architecture
//	bill.go   what a usage costs
//
// It refuses rather than guesses. What is not listed has no price, not even that
// of a neighbour, and every price says on what it stands; see [Basis].
package pricing

import (
	"fmt"
	"strings"
)

// Basis says on what a price stands.
type Basis string

// Bases.
const (
	// PriceList is AWS's own price list for that region.
	PriceList Basis = "price list"
	// OfferFile is AWS's price list as the user gave it.
	OfferFile Basis = "price list file"
	// RegionalList is a published regional price that differs from the default.
	RegionalList Basis = "regional price"
	// AssumedDefault is the price that the major regions share. It was not
	// looked up for this region.
	AssumedDefault Basis = "assumed default regional price"
)

// Item is something that Lambda charges for beside duration, which has tiers.
type Item string

// Items, with the unit that their price is for.
const (
	Request             Item = "request"
	Provisioned         Item = "provisioned concurrency, GB-second"
	ProvisionedDuration Item = "duration under provisioned concurrency, GB-second"
	Storage             Item = "ephemeral storage above 512 MB, GB-second"
	SnapStartCache      Item = "SnapStart cache, GB-second"
	SnapStartRestore    Item = "SnapStart restore, GB"
	ResponseStream      Item = "response stream, GB"
)

// UnknownError means that a price is not known, which is said rather than
// guessed.
type UnknownError struct {
	// What is priced, and where.
	What, Region, Architecture string
}

func (e *UnknownError) Error() string {
	text := fmt.Sprintf("no Lambda price is known for region %q", e.Region)
	if e.Architecture != "" {
		text += " on " + e.Architecture
	}
	if e.What != "" {
		text += ": " + e.What
	}
	return text
}

// Price is what on-demand invocations cost, in USD.
type Price struct {
	// PerGBSecond is the on-demand duration price: that of the first tier, or of
	// the average over the tiers that a volume reaches.
	PerGBSecond float64
	// PerRequest is the price of one request.
	PerRequest float64
	Basis      Basis
	Region     string
	// Date is the day of the price list.
	Date string
}

// PerMillion returns the cost of a million invocations of the given memory
// size and mean billed duration: requests and duration. Of the ceiling to whole
// milliseconds nothing is left to do when the billed durations are the
// platform's own.
func (p Price) PerMillion(memoryMB int64, meanBilledSeconds float64) float64 {
	return 1e6 * (p.PerRequest + p.PerGBSecond*float64(memoryMB)/1024*meanBilledSeconds)
}

// architecture returns AWS's name of an architecture. It may be named as
// OpenTelemetry does, or as AWS does: amd64 or x86_64, arm64.
func architecture(name string) (string, error) {
	switch strings.ToLower(name) {
	case "amd64", "x86_64", "x86-64":
		return x86, nil
	case "arm64", "aarch64":
		return arm, nil
	}
	return "", fmt.Errorf("no Lambda price is known for architecture %q", name)
}

const (
	x86 = "x86_64"
	arm = "arm64"
)
