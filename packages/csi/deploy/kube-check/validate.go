package main

import (
	"fmt"

	groupsnapshot "github.com/kubernetes-csi/external-snapshotter/client/v8/apis/volumegroupsnapshot/v1"
	snapshot "github.com/kubernetes-csi/external-snapshotter/client/v8/apis/volumesnapshot/v1"
	monitoring "github.com/prometheus-operator/prometheus-operator/pkg/apis/monitoring/v1"
	apimeta "k8s.io/apimachinery/pkg/api/meta"
	"k8s.io/apimachinery/pkg/runtime"
	"k8s.io/apimachinery/pkg/util/validation/field"
	podutil "k8s.io/kubernetes/pkg/api/pod"
	"k8s.io/kubernetes/pkg/apis/apps"
	_ "k8s.io/kubernetes/pkg/apis/apps/install"
	appsvalidation "k8s.io/kubernetes/pkg/apis/apps/validation"
	"k8s.io/kubernetes/pkg/apis/core"
	_ "k8s.io/kubernetes/pkg/apis/core/install"
	corevalidation "k8s.io/kubernetes/pkg/apis/core/validation"
	"k8s.io/kubernetes/pkg/apis/networking"
	_ "k8s.io/kubernetes/pkg/apis/networking/install"
	networkvalidation "k8s.io/kubernetes/pkg/apis/networking/validation"
	"k8s.io/kubernetes/pkg/apis/policy"
	_ "k8s.io/kubernetes/pkg/apis/policy/install"
	policyvalidation "k8s.io/kubernetes/pkg/apis/policy/validation"
	"k8s.io/kubernetes/pkg/apis/rbac"
	_ "k8s.io/kubernetes/pkg/apis/rbac/install"
	rbacvalidation "k8s.io/kubernetes/pkg/apis/rbac/validation"
	"k8s.io/kubernetes/pkg/apis/storage"
	_ "k8s.io/kubernetes/pkg/apis/storage/install"
	storagevalidation "k8s.io/kubernetes/pkg/apis/storage/validation"
)

var foreignScheme = runtime.NewScheme()

func init() {
	for _, add := range []func(*runtime.Scheme) error{snapshot.AddToScheme, groupsnapshot.AddToScheme, monitoring.AddToScheme} {
		if err := add(foreignScheme); err != nil {
			fatal("register types", err)
		}
	}
}

var clusterScoped = map[string]bool{
	"ClusterRole": true, "ClusterRoleBinding": true, "CSIDriver": true, "Namespace": true, "PersistentVolume": true,
	"StorageClass": true, "VolumeAttributesClass": true, "VolumeSnapshotClass": true, "VolumeGroupSnapshotClass": true,
	"VolumeSnapshotContent": true, "VolumeGroupSnapshotContent": true, "Node": true,
}

// placeInNamespace does what the API server does with the namespace of the request, and says when the object names one
// that it must not have.
func placeInNamespace(object runtime.Object, kind string, named bool) field.ErrorList {
	meta, err := apimeta.Accessor(object)
	if err != nil {
		return field.ErrorList{field.InternalError(field.NewPath("metadata"), err)}
	}
	if clusterScoped[kind] {
		if named {
			return field.ErrorList{field.Forbidden(field.NewPath("metadata", "namespace"), kind+" is not namespaced")}
		}
		return nil
	}
	if !named {
		meta.SetNamespace("default")
	}
	return nil
}

func podOptions(template *core.PodTemplateSpec) corevalidation.PodValidationOptions {
	return podutil.GetValidationOptionsFromPodTemplate(template, nil)
}

func validate(object runtime.Object, kind string, named bool) field.ErrorList {
	problems := placeInNamespace(object, kind, named)
	switch o := object.(type) {
	case *core.ServiceAccount:
		return append(problems, corevalidation.ValidateServiceAccount(o)...)
	case *core.Secret:
		return append(problems, corevalidation.ValidateSecret(o)...)
	case *core.ConfigMap:
		return append(problems, corevalidation.ValidateConfigMap(o)...)
	case *core.Namespace:
		return append(problems, corevalidation.ValidateNamespace(o)...)
	case *core.Service:
		return append(problems, corevalidation.ValidateServiceCreate(o)...)
	case *core.Pod:
		return append(problems, corevalidation.ValidatePodCreate(o, podutil.GetValidationOptionsFromPodSpecAndMeta(&o.Spec, nil, &o.ObjectMeta, nil))...)
	case *core.PersistentVolumeClaim:
		return append(problems, corevalidation.ValidatePersistentVolumeClaim(o, corevalidation.ValidationOptionsForPersistentVolumeClaimCreate())...)
	case *core.PersistentVolume:
		return append(problems, corevalidation.ValidatePersistentVolume(o, corevalidation.ValidationOptionsForPersistentVolume(o, nil))...)
	case *apps.Deployment:
		return append(problems, appsvalidation.ValidateDeployment(o, podOptions(&o.Spec.Template))...)
	case *apps.DaemonSet:
		return append(problems, appsvalidation.ValidateDaemonSet(o, podOptions(&o.Spec.Template))...)
	case *apps.StatefulSet:
		return append(problems, appsvalidation.ValidateStatefulSet(o, podOptions(&o.Spec.Template))...)
	case *networking.NetworkPolicy:
		return append(problems, networkvalidation.ValidateNetworkPolicy(o, networkvalidation.NetworkPolicyValidationOptions{})...)
	case *policy.PodDisruptionBudget:
		return append(problems, policyvalidation.ValidatePodDisruptionBudget(o, policyvalidation.PodDisruptionBudgetValidationOptions{})...)
	case *rbac.Role:
		return append(problems, rbacvalidation.ValidateRole(o)...)
	case *rbac.RoleBinding:
		return append(problems, rbacvalidation.ValidateRoleBinding(o)...)
	case *rbac.ClusterRole:
		return append(problems, rbacvalidation.ValidateClusterRole(o, rbacvalidation.ClusterRoleValidationOptions{})...)
	case *rbac.ClusterRoleBinding:
		return append(problems, rbacvalidation.ValidateClusterRoleBinding(o)...)
	case *storage.StorageClass:
		return append(problems, storagevalidation.ValidateStorageClass(o)...)
	case *storage.CSIDriver:
		return append(problems, storagevalidation.ValidateCSIDriver(o)...)
	case *storage.VolumeAttributesClass:
		return append(problems, storagevalidation.ValidateVolumeAttributesClass(o)...)
	case *snapshot.VolumeSnapshotClass:
		return append(problems, deletionPolicy(string(o.DeletionPolicy))...)
	case *groupsnapshot.VolumeGroupSnapshotClass:
		return append(problems, deletionPolicy(string(o.DeletionPolicy))...)
	case *snapshot.VolumeSnapshot, *groupsnapshot.VolumeGroupSnapshot, *monitoring.ServiceMonitor:
		return problems
	default:
		return append(problems, field.InternalError(nil, fmt.Errorf("kube-check knows no rules for %T", object)))
	}
}

// deletionPolicy is the enumeration in the snapshot CRDs, which Go types do not carry.
func deletionPolicy(value string) field.ErrorList {
	if value == "Delete" || value == "Retain" {
		return nil
	}
	return field.ErrorList{field.NotSupported(field.NewPath("deletionPolicy"), value, []string{"Delete", "Retain"})}
}
