package report

import (
	"fmt"
	"math"
)

// hoursPerMonth is a month of 30 days, by which monthly figures are told.
const hoursPerMonth = 30 * 24

// minMonthlyUSD is the least that a piece of advice about money alone is worth
// saying.
const minMonthlyUSD = 1.0

// monthly returns what is saved in a month when each of a million invocations
// saves so much, at the observed volume.
func (f *Function) monthly(perMillion float64) float64 {
	return perMillion / 1e6 * float64(f.Invocations) / f.months
}

// price fills in the money of a finding whose effect is a cost.
func (finding *Finding) price(f *Function) {
	if finding.MonthlyUSD.Value != nil || finding.MonthlyUSD.Reason != "" {
		return
	}
	e := finding.Effect
	if e.Unit != unitPerMillion || e.Value == nil || !(f.months > 0) {
		finding.MonthlyUSD.Reason = "the effect is not one on the bill, or its size is not known"
		return
	}
	at := func(v *float64) *float64 {
		if v == nil {
			return nil
		}
		return figure(f.monthly(*v))
	}
	finding.MonthlyUSD = Money{Value: at(e.Value), Low: at(e.Low), High: at(e.High)}
}

// moneyText is the money of a finding in words, empty where it is not known.
func moneyText(m Money) string {
	if m.Value == nil {
		return ""
	}
	verb, v := "saves", *m.Value
	if v < 0 {
		verb, v = "costs", -v
	}
	out := fmt.Sprintf("%s %s a month", verb, usd(v))
	if m.Low != nil && m.High != nil {
		out += fmt.Sprintf(" (%s to %s)", signedUSD(*m.Low), signedUSD(*m.High))
	}
	return out
}

func signedUSD(v float64) string {
	if v < 0 {
		return "−" + usd(math.Abs(v))
	}
	return usd(v)
}

// moneyWords is the money of a finding for a list of its figures.
func moneyWords(f Finding) []string {
	if text := moneyText(f.MonthlyUSD); text != "" {
		return []string{text}
	}
	return nil
}
