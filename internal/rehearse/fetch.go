package rehearse

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/url"
	"time"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/service/lambda"
	"github.com/aws/aws-sdk-go-v2/service/lambda/types"
)

// maxPackage bounds a package with its layers, in bytes (AWS docs: 250 MB
// unzipped).
const maxPackage = 260 << 20

// Fetch takes an existing function's code and configuration from an account
// or a Keyturn server. It only reads: lambda:GetFunction, and for layers
// lambda:GetLayerVersion.
func Fetch(ctx context.Context, cfg aws.Config, name string) (Function, error) {
	client := lambda.NewFromConfig(cfg)
	out, err := client.GetFunction(ctx, &lambda.GetFunctionInput{FunctionName: &name})
	if err != nil {
		return Function{}, fmt.Errorf("reading the function %s: %w", name, err)
	}
	c := out.Configuration
	if c.PackageType == types.PackageTypeImage {
		return Function{}, fmt.Errorf("the function %s is a container image, and only packages can be rehearsed", name)
	}
	f := Function{
		Name: aws.ToString(c.FunctionName), Runtime: string(c.Runtime), Handler: aws.ToString(c.Handler),
		Timeout: aws.ToInt32(c.Timeout), Memory: aws.ToInt32(c.MemorySize), Environment: map[string]string{},
	}
	if e := c.Environment; e != nil {
		if e.Error != nil {
			return f, fmt.Errorf("the variables of the function %s cannot be read: %s", name, aws.ToString(e.Error.Message))
		}
		f.Environment = e.Variables
	}
	if out.Code == nil {
		return f, fmt.Errorf("the answer about the function %s does not say where its code is", name)
	}
	room := int64(maxPackage)
	if f.Code, err = download(ctx, cfg, aws.ToString(out.Code.Location), &room); err != nil {
		return f, fmt.Errorf("reading the code of the function %s: %w", name, err)
	}
	for _, l := range c.Layers {
		layer, err := client.GetLayerVersionByArn(ctx, &lambda.GetLayerVersionByArnInput{Arn: l.Arn})
		if err != nil {
			return f, fmt.Errorf("reading the layer %s: %w", aws.ToString(l.Arn), err)
		}
		content, err := download(ctx, cfg, aws.ToString(layer.Content.Location), &room)
		if err != nil {
			return f, fmt.Errorf("reading the layer %s: %w", aws.ToString(l.Arn), err)
		}
		f.Layers = append(f.Layers, content)
	}
	return f, nil
}

// download reads from a signed URL what there is room for. Errors do not show
// the URL: for some minutes anyone could read with it.
func download(ctx context.Context, cfg aws.Config, location string, room *int64) ([]byte, error) {
	content, err := get(ctx, cfg, location, *room)
	*room -= int64(len(content))
	if failed, ok := errors.AsType[*url.Error](err); ok {
		err = failed.Err
	}
	return content, err
}

func get(ctx context.Context, cfg aws.Config, location string, room int64) ([]byte, error) {
	ctx, cancel := context.WithTimeout(ctx, 5*time.Minute)
	defer cancel()
	req, err := http.NewRequestWithContext(ctx, http.MethodGet, location, nil)
	if err != nil {
		return nil, err
	}
	var client aws.HTTPClient = http.DefaultClient
	if cfg.HTTPClient != nil {
		client = cfg.HTTPClient
	}
	resp, err := client.Do(req)
	if err != nil {
		return nil, err
	}
	defer resp.Body.Close()
	if resp.StatusCode != http.StatusOK {
		return nil, fmt.Errorf("the download answered %s", resp.Status)
	}
	content, err := io.ReadAll(io.LimitReader(resp.Body, room+1))
	if err == nil && int64(len(content)) > room {
		err = fmt.Errorf("the function and its layers have more than %d bytes", maxPackage)
	}
	return content, err
}
