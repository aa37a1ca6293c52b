package main

import (
	"fmt"
	"os"

	"github.com/spf13/pflag"

	"github.com/thaw-lambda/thaw/internal/pricing"
)

// pricesFlag is the flag of every command that states costs.
func pricesFlag(flags *pflag.FlagSet, into *string) {
	flags.StringVar(into, "prices", "", "file with AWS's price list, instead of the embedded one of "+pricing.Date+"; download it from\n"+pricing.OfferURL)
}

// loadPrices returns the embedded price list, with the prices of a file in its
// place where one is named.
func loadPrices(name string) (*pricing.Table, error) {
	table, err := pricing.Load()
	if err != nil || name == "" {
		return table, err
	}
	file, err := os.Open(name)
	if err != nil {
		return nil, fmt.Errorf("--prices: %w", err)
	}
	defer file.Close()
	if err := table.Replace(file); err != nil {
		return nil, fmt.Errorf("--prices %s: %w", name, err)
	}
	return table, nil
}
