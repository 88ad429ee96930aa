package iam

import (
	"context"

	api "github.com/keyturn/keyturn/internal/api/iam"
	"github.com/keyturn/keyturn/internal/fault"
	"github.com/keyturn/keyturn/internal/store"
	"github.com/keyturn/keyturn/internal/wire"
)

// Users have no credentials here but access keys: no passwords, MFA devices,
// SSH keys, certificates and credentials for single services. These operations
// say so, because Terraform asks for all of them before it deletes a user.

func (s *Service) credentialOps() []wire.Op {
	return []wire.Op{
		wire.Handle("DeleteLoginProfile", s.DeleteLoginProfile),
		wire.Handle("GetLoginProfile", s.GetLoginProfile),
		wire.Handle("ListMFADevices", s.ListMFADevices),
		wire.Handle("ListServiceSpecificCredentials", s.ListServiceSpecificCredentials),
		wire.Handle("ListSigningCertificates", s.ListSigningCertificates),
		wire.Handle("ListSSHPublicKeys", s.ListSSHPublicKeys),
		wire.Handle("ListVirtualMFADevices", s.ListVirtualMFADevices),
	}
}

// none finds the user that a call is about, authorised: nothing is to be
// shown of it.
func (s *Service) none(ctx context.Context, call *wire.Call, name *string) (user string, err error) {
	err = s.Store.View(ctx, func(tx *store.Tx) (err error) {
		user, err = s.keyHolder(tx, call, name)
		return err
	})
	return user, err
}

func (s *Service) noPassword(ctx context.Context, call *wire.Call, name *string) error {
	user, err := s.none(ctx, call, name)
	if err != nil {
		return err
	}
	return fault.New(fault.NotFound, "Login Profile for User %s cannot be found.", user)
}

// GetLoginProfile tells that a user has no password.
func (s *Service) GetLoginProfile(ctx context.Context, call *wire.Call, in *api.GetLoginProfileRequest) (*api.GetLoginProfileResponse, error) {
	return nil, s.noPassword(ctx, call, in.UserName)
}

// DeleteLoginProfile tells that a user has no password.
func (s *Service) DeleteLoginProfile(ctx context.Context, call *wire.Call, in *api.DeleteLoginProfileRequest) (*api.DeleteLoginProfileResponse, error) {
	return nil, s.noPassword(ctx, call, in.UserName)
}

// ListMFADevices lists none.
func (s *Service) ListMFADevices(ctx context.Context, call *wire.Call, in *api.ListMFADevicesRequest) (*api.ListMFADevicesResponse, error) {
	_, err := s.none(ctx, call, in.UserName)
	return &api.ListMFADevicesResponse{MFADevices: []api.MFADevice{}, IsTruncated: new(false)}, err
}

// ListVirtualMFADevices lists none.
func (s *Service) ListVirtualMFADevices(_ context.Context, call *wire.Call, _ *api.ListVirtualMFADevicesRequest) (*api.ListVirtualMFADevicesResponse, error) {
	return &api.ListVirtualMFADevicesResponse{VirtualMFADevices: []api.VirtualMFADevice{}, IsTruncated: new(false)}, s.Guard.Action(call, "*")
}

// ListSSHPublicKeys lists none.
func (s *Service) ListSSHPublicKeys(ctx context.Context, call *wire.Call, in *api.ListSSHPublicKeysRequest) (*api.ListSSHPublicKeysResponse, error) {
	_, err := s.none(ctx, call, in.UserName)
	return &api.ListSSHPublicKeysResponse{SSHPublicKeys: []api.SSHPublicKeyMetadata{}, IsTruncated: new(false)}, err
}

// ListSigningCertificates lists none.
func (s *Service) ListSigningCertificates(ctx context.Context, call *wire.Call, in *api.ListSigningCertificatesRequest) (*api.ListSigningCertificatesResponse, error) {
	_, err := s.none(ctx, call, in.UserName)
	return &api.ListSigningCertificatesResponse{Certificates: []api.SigningCertificate{}, IsTruncated: new(false)}, err
}

// ListServiceSpecificCredentials lists none.
func (s *Service) ListServiceSpecificCredentials(ctx context.Context, call *wire.Call, in *api.ListServiceSpecificCredentialsRequest) (*api.ListServiceSpecificCredentialsResponse, error) {
	_, err := s.none(ctx, call, in.UserName)
	return &api.ListServiceSpecificCredentialsResponse{
		ServiceSpecificCredentials: []api.ServiceSpecificCredentialMetadata{}, IsTruncated: new(false),
	}, err
}
