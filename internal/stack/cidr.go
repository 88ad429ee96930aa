package stack

import (
	"math/big"
	"net/netip"
	"strconv"
)

// cidr resolves Fn::Cidr: [block, count, bits]. Each of the count blocks
// leaves bits for its addresses; without bits 8 of an IPv4 and 64 of an IPv6
// address (assumed).
func (r *resolver) cidr(arg any) (any, error) {
	args, ok := arg.([]any)
	if !ok || len(args) < 2 || len(args) > 3 {
		return nil, errCidr()
	}
	var texts [3]string
	for i := range args {
		var err error
		if texts[i], err = r.text(args[i], errCidr); err != nil {
			return nil, err
		}
		if isUnknown(texts[i]) {
			return KnownAfterApply, nil
		}
	}
	block, err := netip.ParsePrefix(texts[0])
	if err != nil {
		return nil, invalid("Template error: Fn::Cidr: %s is not a valid CIDR block", texts[0])
	}
	count, err := strconv.Atoi(texts[1])
	if err != nil || count < 1 || count > 256 {
		return nil, invalid("Template error: Fn::Cidr requires a count between 1 and 256")
	}
	bits := 8
	if block.Addr().Is6() {
		bits = 64
	}
	if len(args) == 3 {
		if bits, err = strconv.Atoi(texts[2]); err != nil {
			return nil, errCidr()
		}
	}
	return subnets(block.Masked(), count, bits)
}

// subnets returns the first count blocks of 2^bits addresses in a block.
func subnets(block netip.Prefix, count, bits int) (any, error) {
	width := block.Addr().BitLen()
	length := width - bits
	room := length - block.Bits()
	if bits < 0 || room < 0 || room < 31 && count > 1<<room {
		return nil, invalid("Template error: Fn::Cidr: %s does not hold %d blocks of %d bits", block, count, bits)
	}
	first := new(big.Int).SetBytes(block.Addr().AsSlice())
	step := new(big.Int).Lsh(big.NewInt(1), uint(bits))
	list := []any{}
	for range count {
		raw := first.FillBytes(make([]byte, width/8))
		addr, _ := netip.AddrFromSlice(raw)
		list = append(list, netip.PrefixFrom(addr, length).String())
		first.Add(first, step)
	}
	return list, nil
}
