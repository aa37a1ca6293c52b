package report

import "github.com/thaw-lambda/thaw/internal/account"

// addAccount adds what AWS says of the functions of one account and region.
func (r *Report) addAccount(a *account.Account) {
	if a == nil {
		return
	}
	r.Account = &AccountInfo{
		CollectedAt: a.CollectedAt, Start: a.Start, End: a.End,
		AccountID: a.AccountID, Region: a.Region, Limits: a.Limits, Refused: a.Refused,
	}
	for _, f := range r.Functions {
		if f.Account == a.AccountID && f.Region == a.Region {
			f.AWS, f.limits = a.Find(f.Name), a.Limits
		}
	}
}
