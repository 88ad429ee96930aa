package server

import (
	"bufio"
	"bytes"
	"context"
	"fmt"
	"log/slog"
	"net"
	"net/netip"
	"os"
	"slices"
	"strings"
	"sync"
	"time"

	"github.com/keyturn/keyturn/internal/function/egress"
	"github.com/keyturn/keyturn/internal/function/environment"
	"github.com/keyturn/keyturn/internal/network"
	"github.com/keyturn/keyturn/internal/store"
)

// enforcer answers what functions in a VPC may connect to: what the records
// of that VPC say of it.
//
// The addresses that functions really connect to stand for places in the
// VPC. The server's doors for functions are services, at their regional
// names; that of a VPC endpoint is this endpoint; that for clients is nowhere. A registered database is where its
// record says. The host's name servers are the VPC's. Everything else is
// judged by the address that it has.
type enforcer struct {
	store *store.Store
	cache *store.Cache[networkKey, *network.Snapshot]
	// doors lists where the server listens.
	doors  func() []doorPlace
	logger *slog.Logger

	mu sync.Mutex
	// said is when a function was last told of for a destination.
	said map[saidKey]time.Time
	// names holds what names of databases stand for, for nameLife.
	names map[string]resolvedName
}

// doorPlace is a door as functions reach it.
type doorPlace struct {
	at netip.AddrPort
	// service is the AWS service that the door stands for, or ""; endpoint the
	// VPC endpoint, or "".
	service, endpoint, vpc string
}

type networkKey struct{ account, region, vpc string }

type saidKey struct {
	function string
	to       egress.Destination
}

type resolvedName struct {
	addresses []netip.Addr
	until     time.Time
}

const (
	// networkCache bounds the memory for VPCs, and networkSize is what one
	// object of them takes, roughly, in bytes.
	networkCache = 16 << 20
	networkSize  = 1 << 10
	// sayAgain is how often the log tells of one function and destination.
	sayAgain = time.Minute
	// nameLife is how long what a database's name stands for is kept.
	nameLife = 15 * time.Second
	// nameLimit bounds the question for a name.
	nameLimit = 3 * time.Second
)

// checkEnforcement refuses to enforce where the host cannot.
func checkEnforcement(logger *slog.Logger) error {
	held, err := environment.ProbeEgress()
	return admitEnforcement(held, err, logger)
}

// admitEnforcement says what is wrong with how this host holds functions; err
// is why it does not do better.
func admitEnforcement(held environment.HeldBy, err error, logger *slog.Logger) error {
	switch held {
	case environment.NotHeld:
		return fmt.Errorf("--enforce-vpc cannot be kept on this host, so functions in a VPC would reach everything: "+
			"seccomp notifications do not work (%w), and the kernel does not have Landlock's network rules. "+
			"It needs Linux 5.8 with seccomp, pidfd_getfd and /proc/PID/mem permitted, or Linux 6.7 with Landlock", err)
	case environment.HeldByPort:
		logger.Warn("--enforce-vpc is kept by TCP port only on this host: addresses are not told apart, refused connections fail at once and UDP is not held", "error", err)
	}
	return nil
}

func newEnforcer(s *store.Store, doors func() []doorPlace, logger *slog.Logger) *enforcer {
	size := func(_ networkKey, v *network.Snapshot) int64 {
		return int64(len(v.Objects())+len(v.Databases)) * networkSize
	}
	return &enforcer{
		store: s, cache: store.NewCache(s, networkCache, size), doors: doors, logger: logger,
		said: map[saidKey]time.Time{}, names: map[string]resolvedName{},
	}
}

// egress is the enforcer as functions' environments ask it.
func (f *enforcer) egress() *environment.Egress {
	return &environment.Egress{Decide: f.decide, Ports: f.ports}
}

// snapshot returns the VPC of a function.
func (f *enforcer) snapshot(ctx context.Context, spec environment.Spec) (*network.Snapshot, error) {
	key := networkKey{spec.Account, spec.Region, spec.VPC.VPCID}
	if s, ok := f.cache.Get(key); ok {
		return s, nil
	}
	mark := f.store.Mark()
	var s *network.Snapshot
	err := f.store.View(ctx, func(tx *store.Tx) (err error) {
		if s, err = tx.VPCNetwork(key.account, key.region, key.vpc); err == nil {
			s.Databases, err = tx.NetworkDatabases(key.account, key.region)
		}
		return err
	})
	if err != nil {
		return nil, err
	}
	f.cache.Put(mark, key, s, store.NetworkTopic(key.account, key.region))
	return s, nil
}

// decide judges a connection.
func (f *enforcer) decide(ctx context.Context, spec environment.Spec, to egress.Destination) egress.Verdict {
	s, err := f.snapshot(ctx, spec)
	if err != nil {
		f.logger.Error("a function's connection was dropped, because its VPC could not be read", "function", spec.FunctionARN, "error", err)
		return egress.Drop
	}
	report := f.judge(ctx, s, spec, to)
	if report.Verdict == network.Allowed || report.Verdict == network.Denied {
		return egress.Allow // what an endpoint's policy denies is answered by the service
	}
	f.say(spec, to, report)
	// AWS drops what has no route as well. But without dual stack there is no
	// IPv6 in a function's environment at all.
	if to.Address.Is6() && !to.Address.IsLoopback() && !spec.VPC.IPv6 {
		return egress.Unreachable
	}
	return egress.Drop
}

// judge asks the records of the VPC.
func (f *enforcer) judge(ctx context.Context, s *network.Snapshot, spec environment.Spec, to egress.Destination) network.Report {
	path := network.Path{
		Function: spec.FunctionName, From: network.VPCConfig{SubnetIDs: spec.VPC.SubnetIDs, GroupIDs: spec.VPC.SecurityGroupIDs},
		To: network.Destination{Address: to.Address, Port: to.Port, Protocol: string(to.Protocol)},
	}
	if d, ok := f.standsFor(s, to); ok {
		if d.Service == "" {
			return noWay(spec)
		}
		path.To = d
	} else if list := f.databases(ctx, s, to); len(list) > 0 {
		return analyzeAny(s, path, list)
	} else if to.Port == dnsPort && slices.Contains(nameServers(), to.Address) {
		path.To.Address = vpcResolver
	}
	return network.Analyze(s, path)
}

// analyzeAny asks the records about databases that are registered at the same
// place: one that is reached is enough.
func analyzeAny(s *network.Snapshot, path network.Path, list []string) network.Report {
	var first network.Report
	for i, id := range list {
		path.To = network.Destination{Database: id}
		r := network.Analyze(s, path)
		if r.Verdict == network.Allowed {
			return r
		}
		if i == 0 {
			first = r
		}
	}
	return first
}

// noWay is the way to the server's door for clients, or to an endpoint of
// another VPC.
func noWay(spec environment.Spec) network.Report {
	return network.Report{Verdict: network.NoRoute, Hops: []network.Hop{{
		Stage: network.StageEndpoint, Verdict: network.NoRoute,
		Text: "The address is the server's for its clients or for another VPC: no way leads there from " + spec.VPC.VPCID + ".",
	}}}
}

// standsFor says which service one of the server's doors stands for; without
// a service no way leads there.
func (f *enforcer) standsFor(s *network.Snapshot, to egress.Destination) (d network.Destination, ok bool) {
	if to.Protocol != egress.TCP {
		return d, false
	}
	for _, p := range f.doors() {
		if p.at.Port() != to.Port || p.at.Addr() != to.Address && !(p.at.Addr().IsUnspecified() && isOwn(to.Address)) {
			continue
		}
		if p.endpoint == "" {
			return network.Destination{Service: p.service}, true // "" for the clients' door
		}
		e := s.Endpoint(p.endpoint)
		if e == nil || len(s.VPCs) == 0 || p.vpc != s.VPCs[0].ID {
			return network.Destination{}, true
		}
		return network.Destination{Service: e.Service[strings.LastIndexByte(e.Service, '.')+1:], Host: s.DNSNames(e)[0]}, true
	}
	return d, false
}

// isOwn reports whether the address is one of this host's.
func isOwn(a netip.Addr) bool {
	if a.IsLoopback() {
		return true
	}
	list, err := net.InterfaceAddrs()
	if err != nil {
		return false
	}
	return slices.ContainsFunc(list, func(n net.Addr) bool {
		p, err := netip.ParsePrefix(n.String())
		return err == nil && p.Addr().Unmap() == a
	})
}

// databases finds the registered databases at an address and port.
func (f *enforcer) databases(ctx context.Context, s *network.Snapshot, to egress.Destination) (ids []string) {
	for _, d := range s.Databases {
		if to.Protocol == egress.TCP && d.Port == to.Port && (d.Address == to.Address || slices.Contains(f.resolve(ctx, d.Host), to.Address)) {
			ids = append(ids, d.ID)
		}
	}
	return ids
}

// resolve returns the addresses of a name as this host knows it.
func (f *enforcer) resolve(ctx context.Context, host string) []netip.Addr {
	if _, err := netip.ParseAddr(host); host == "" || err == nil {
		return nil // a number is the database's address already
	}
	f.mu.Lock()
	known, ok := f.names[host]
	f.mu.Unlock()
	if ok && time.Now().Before(known.until) {
		return known.addresses
	}
	ctx, cancel := context.WithTimeout(ctx, nameLimit)
	defer cancel()
	list, err := net.DefaultResolver.LookupNetIP(ctx, "ip", host)
	if err != nil {
		f.logger.Debug("a database's name has no address", "name", host, "error", err)
	}
	for i := range list {
		list[i] = list[i].Unmap().WithZone("")
	}
	f.mu.Lock()
	defer f.mu.Unlock()
	f.names[host] = resolvedName{list, time.Now().Add(nameLife)}
	return list
}

// dnsPort is where name servers listen.
const dnsPort = 53

// vpcResolver is Amazon's name server in every VPC (AWS docs).
var vpcResolver = netip.AddrFrom4([4]byte{169, 254, 169, 253})

// nameServers returns the name servers of this host.
func nameServers() []netip.Addr {
	text, err := os.ReadFile("/etc/resolv.conf")
	if err != nil {
		return nil
	}
	var list []netip.Addr
	for lines := bufio.NewScanner(bytes.NewReader(text)); lines.Scan(); {
		if words := strings.Fields(lines.Text()); len(words) > 1 && words[0] == "nameserver" {
			if a, err := netip.ParseAddr(words[1]); err == nil {
				list = append(list, a.Unmap().WithZone(""))
			}
		}
	}
	return list
}

// say logs why a connection was held back. The function's own log, as on
// AWS, says nothing.
func (f *enforcer) say(spec environment.Spec, to egress.Destination, r network.Report) {
	f.mu.Lock()
	key, now := saidKey{spec.FunctionARN, to}, time.Now()
	for k, at := range f.said {
		if now.Sub(at) >= sayAgain {
			delete(f.said, k)
		}
	}
	_, ok := f.said[key]
	if !ok {
		f.said[key] = now
	}
	f.mu.Unlock()
	if ok {
		return
	}
	level := slog.LevelInfo
	if to.Protocol == egress.UDP {
		level = slog.LevelDebug // resolvers ask for many that they do not use
	}
	why := ""
	if h := r.Refusal(); h != nil {
		why = h.Text
	}
	f.logger.Log(context.Background(), level, "a VPC held a function's connection back",
		"function", spec.FunctionARN, "to", to.AddrPort(), "protocol", to.Protocol, "why", why)
}

// ports lists the TCP ports of what a function may reach, for hosts that
// tell no addresses apart: of the server's doors, the registered databases
// and what the function's security groups name, each judged at an address
// that they allow.
func (f *enforcer) ports(ctx context.Context, spec environment.Spec) (list []uint16, all bool) {
	s, err := f.snapshot(ctx, spec)
	if err != nil {
		f.logger.Error("a function connects nowhere, because its VPC could not be read", "function", spec.FunctionARN, "error", err)
		return nil, false
	}
	allowed := func(a netip.Addr, port uint16) bool {
		to := egress.Destination{Address: a, Port: port, Protocol: egress.TCP}
		return a.IsValid() && f.judge(ctx, s, spec, to).Verdict <= network.Denied
	}
	add := func(a netip.Addr, port uint16) {
		if allowed(a, port) {
			list = append(list, port)
		}
	}
	for _, p := range f.doors() {
		add(p.at.Addr(), p.at.Port())
	}
	for _, d := range s.Databases {
		for _, a := range append(f.resolve(ctx, d.Host), d.Address) {
			add(a, d.Port)
		}
	}
	list = append(list, dnsPort)
	for _, id := range spec.VPC.SecurityGroupIDs {
		g := s.Group(id)
		if g == nil {
			continue
		}
		for _, r := range g.Rules {
			first, last := r.From, r.To
			if r.Protocol == network.AllProtocols || first < 0 {
				first, last = 0, 1<<16-1
			}
			if n, ok := network.ProtocolNumber(r.Protocol); !r.Egress || !r.CIDR.IsValid() || !ok || n >= 0 && n != protocolTCP {
				continue
			}
			if last-first > maxPortRange {
				all = all || allowed(r.CIDR.Addr(), uint16(last))
				continue
			}
			for port := first; port <= last; port++ {
				add(r.CIDR.Addr(), uint16(port))
			}
		}
	}
	return list, all
}

const (
	protocolTCP = 6
	// maxPortRange is the largest range of ports that is looked at one by one;
	// a larger one counts as every port.
	maxPortRange = 1024
)
