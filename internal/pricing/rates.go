package pricing

import (
	"fmt"
	"math"
)

// Tier is a step of the duration price.
type Tier struct {
	// UpTo is the number of GB-seconds a month to which the tier reaches.
	UpTo float64
	// PerGBSecond is the price within it.
	PerGBSecond float64
}

// Rates are the prices of one region and architecture, in USD.
type Rates struct {
	Region, Architecture string
	Basis                Basis
	// Date is the day of the price list.
	Date string
	// Tiers of the on-demand duration, in order. The last one reaches to
	// infinity, unless the prices beyond it are not known.
	Tiers []Tier
	items map[Item]float64
}

// Of returns the price of an item.
func (r *Rates) Of(item Item) (float64, error) {
	price, ok := r.items[item]
	if !ok {
		return 0, &UnknownError{string(item), r.Region, r.Architecture}
	}
	return price, nil
}

// Duration returns what so many GB-seconds of on-demand duration cost in a
// month, tier by tier. Volumes of all functions of an account, region and
// architecture count together.
func (r *Rates) Duration(gbSeconds float64) (float64, error) {
	if gbSeconds < 0 || math.IsNaN(gbSeconds) {
		return 0, fmt.Errorf("%g GB-seconds is not a volume", gbSeconds)
	}
	var cost, from float64
	for _, tier := range r.Tiers {
		cost += max(0, min(gbSeconds, tier.UpTo)-from) * tier.PerGBSecond
		if from = tier.UpTo; gbSeconds <= tier.UpTo {
			return cost, nil
		}
	}
	return 0, &UnknownError{fmt.Sprintf("duration beyond %.3g GB-seconds a month", from), r.Region, r.Architecture}
}

// Price returns the price of on-demand invocations at a volume of so many
// GB-seconds a month: the average over the tiers that it reaches.
func (r *Rates) Price(gbSeconds float64) (Price, error) {
	request, err := r.Of(Request)
	if err != nil {
		return Price{}, err
	}
	if len(r.Tiers) == 0 {
		return Price{}, &UnknownError{"duration", r.Region, r.Architecture}
	}
	p := Price{PerGBSecond: r.Tiers[0].PerGBSecond, PerRequest: request, Basis: r.Basis, Region: r.Region, Date: r.Date}
	if gbSeconds > r.Tiers[0].UpTo {
		cost, err := r.Duration(gbSeconds)
		if err != nil {
			return Price{}, err
		}
		p.PerGBSecond = cost / gbSeconds
	}
	return p, nil
}

// check finds what no price list can hold.
func (r *Rates) check() error {
	from := 0.0
	for _, tier := range r.Tiers {
		if !(tier.UpTo > from) || !(tier.PerGBSecond > 0) || tier.PerGBSecond > 1 {
			return fmt.Errorf("%s on %s: a tier of %g USD from %g to %g GB-seconds", r.Region, r.Architecture, tier.PerGBSecond, from, tier.UpTo)
		}
		from = tier.UpTo
	}
	for item, price := range r.items {
		if !(price > 0) || price > 1 {
			return fmt.Errorf("%s on %s: %g USD for %s", r.Region, r.Architecture, price, item)
		}
	}
	return nil
}
