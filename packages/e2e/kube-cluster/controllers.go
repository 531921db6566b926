package main

import (
	"context"
	"time"

	"k8s.io/apimachinery/pkg/util/wait"
	"k8s.io/client-go/informers"
	"k8s.io/client-go/kubernetes"
	"k8s.io/client-go/tools/clientcmd"
	"k8s.io/klog/v2"
	"k8s.io/kubernetes/pkg/controller/volume/attachdetach"
	"k8s.io/kubernetes/pkg/controller/volume/persistentvolume"
	"k8s.io/kubernetes/pkg/controller/volume/pvcprotection"
	"k8s.io/kubernetes/pkg/controller/volume/pvprotection"
	"k8s.io/kubernetes/pkg/controller/volume/vacprotection"
	"k8s.io/kubernetes/pkg/volume/csi"
)

// runControllers runs what kube-controller-manager runs for volumes: it binds claims, creates VolumeAttachments for the
// pods on a node, and keeps what is in use from being deleted.
func runControllers(ctx context.Context, kubeconfig string) error {
	client, err := connect(ctx, kubeconfig)
	if err != nil {
		return err
	}
	logger := klog.FromContext(ctx)
	shared := informers.NewSharedInformerFactory(client, 0)
	core, storage := shared.Core().V1(), shared.Storage().V1()

	binder, err := persistentvolume.NewController(ctx, persistentvolume.ControllerParameters{
		KubeClient: client,
		// Kubernetes' own 15 s, which a claim may have to wait out, would be most of a test's time.
		SyncPeriod:                time.Second,
		VolumeInformer:            core.PersistentVolumes(),
		ClaimInformer:             core.PersistentVolumeClaims(),
		ClassInformer:             storage.StorageClasses(),
		PodInformer:               core.Pods(),
		NodeInformer:              core.Nodes(),
		EnableDynamicProvisioning: true,
	})
	if err != nil {
		return err
	}
	attacher, err := attachdetach.NewAttachDetachController(ctx, client, core.Pods(), core.Nodes(), core.PersistentVolumeClaims(),
		core.PersistentVolumes(), storage.CSINodes(), storage.CSIDrivers(), storage.VolumeAttachments(), csi.ProbeVolumePlugins(),
		nil, false, time.Minute, false, attachdetach.DefaultTimerConfig)
	if err != nil {
		return err
	}
	claims, err := pvcprotection.NewPVCProtectionController(logger, core.PersistentVolumeClaims(), core.Pods(), client)
	if err != nil {
		return err
	}
	classes, err := vacprotection.NewVACProtectionController(logger, client, core.PersistentVolumeClaims(), core.PersistentVolumes(), storage.VolumeAttributesClasses())
	if err != nil {
		return err
	}
	volumes := pvprotection.NewPVProtectionController(logger, core.PersistentVolumes(), client)

	shared.Start(ctx.Done())
	go binder.Run(ctx)
	go attacher.Run(ctx)
	go claims.Run(ctx, 1)
	go classes.Run(ctx, 1)
	go volumes.Run(ctx, 1)
	return nil
}

// connect waits for an API server that is ready. Until then it has not even written the certificate that kubeconfig names.
func connect(ctx context.Context, kubeconfig string) (client *kubernetes.Clientset, err error) {
	err = wait.PollUntilContextCancel(ctx, 100*time.Millisecond, true, func(ctx context.Context) (bool, error) {
		config, err := clientcmd.BuildConfigFromFlags("", kubeconfig)
		if err != nil {
			return false, nil
		}
		config.QPS, config.Burst = 500, 1000
		if client, err = kubernetes.NewForConfig(config); err != nil {
			return false, err
		}
		return client.Discovery().RESTClient().Get().AbsPath("/readyz").Do(ctx).Error() == nil, nil
	})
	return client, err
}
