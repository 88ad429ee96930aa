package server

import (
	"context"
	"net/netip"

	"github.com/keyturn/keyturn/internal/fault"
	"github.com/keyturn/keyturn/internal/function/environment"
	"github.com/keyturn/keyturn/internal/iam"
	"github.com/keyturn/keyturn/internal/sigv4"
	"github.com/keyturn/keyturn/internal/wire"
)

// sideDoor is a door for functions in a VPC that call one service. On AWS
// each service has an endpoint, and a VPC may lead to one and not to another:
// to tell connections apart, each service needs an address of its own.
type sideDoor struct {
	door
	// service is its name in those of VPC endpoints, sdk that in the variable
	// by which AWS's clients find it, AWS_ENDPOINT_URL_….
	service, sdk string
}

// mainService is the service for which the doors of all services stand.
const mainService = "secretsmanager"

// sideServices are the services that functions call beside Secrets Manager.
var sideServices = []struct{ service, sdk string }{
	{"rds", "RDS"}, {"kms", "KMS"}, {"sts", "STS"}, {"lambda", "LAMBDA"}, {"logs", "CLOUDWATCH_LOGS"}, {"iam", "IAM"}, {"ec2", "EC2"},
	{"cloudtrail", "CLOUDTRAIL"}, {"cloudformation", "CLOUDFORMATION"}, {"serverlessrepo", "SERVERLESSAPPLICATIONREPOSITORY"},
}

// openSides opens the doors of single services, if VPCs count.
func (s *Server) openSides() error {
	if !s.cfg.EnforceVPC {
		return nil
	}
	for _, n := range sideServices {
		l, err := listenForFunctions(s.crowd)
		if err != nil {
			return err
		}
		s.side = append(s.side, &sideDoor{door{listener: l}, n.service, n.sdk})
	}
	return nil
}

// through is what a door for functions makes of a call: it finds the VPC
// endpoint, and refuses calls of functions in a VPC to another service than
// the door's. The way to a service must not be the way to others.
func through(service string, of endpointOf) endpointOf {
	return func(ctx context.Context, p iam.Principal, called, region, host string) (*wire.Endpoint, error) {
		if p.Given != nil && p.Given.SourceVPC != "" && called != service {
			return nil, fault.New(sigv4.BadScope, "Credential should be scoped to correct service: '%s'. ", service)
		}
		return of(ctx, p, called, region, host)
	}
}

// innerDoors are all doors for functions.
func (s *Server) innerDoors() []*door {
	list := []*door{&s.inner}
	for _, d := range s.side {
		list = append(list, &d.door)
	}
	return list
}

// sideURLs are the side doors by their names in variables.
func (s *Server) sideURLs() []environment.ServiceURL {
	var list []environment.ServiceURL
	for _, d := range s.side {
		list = append(list, environment.ServiceURL{Service: d.sdk, URL: "http://" + d.address()})
	}
	return list
}

// places lists all doors with what they stand for in a VPC.
func (s *Server) places() []doorPlace {
	// Clients come by the outer door, and through no endpoint of a VPC.
	list := []doorPlace{placeOf(&s.outer, ""), placeOf(&s.inner, mainService)}
	for _, d := range s.side {
		list = append(list, placeOf(&d.door, d.service))
	}
	for _, p := range s.passages {
		place := placeOf(&p.door, "")
		place.endpoint, place.vpc = p.endpoint.ID, p.endpoint.VPC
		list = append(list, place)
	}
	return list
}

func placeOf(d *door, service string) doorPlace {
	at, _ := netip.ParseAddrPort(d.listener.Addr().String()) // the listener's own words
	return doorPlace{at: netip.AddrPortFrom(at.Addr().Unmap(), at.Port()), service: service}
}
