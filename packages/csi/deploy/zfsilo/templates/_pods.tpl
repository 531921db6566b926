{{/* What every container gets but the privileged one. */}}
{{- define "zfsilo.containerSecurity" -}}
allowPrivilegeEscalation: false
readOnlyRootFilesystem: true
capabilities: { drop: [ALL] }
{{- end -}}

{{- define "zfsilo.podSecurity" -}}
runAsNonRoot: true
runAsUser: 65532
runAsGroup: 65532
fsGroup: 65532
# Files of the data directory stay readable by their owner alone: zfsilo refuses keys that a group can read.
fsGroupChangePolicy: OnRootMismatch
seccompProfile: { type: RuntimeDefault }
{{- end -}}

{{- define "zfsilo.pullSecrets" -}}
{{- with .Values.images.pullSecrets }}
imagePullSecrets:
  {{- toYaml . | nindent 2 }}
{{- end }}
{{- end -}}

{{/* A sidecar of the controller; call with (dict "root" $ "name" .. "image" .. "port" .. "args" (list ..)). */}}
{{- define "zfsilo.controllerSidecar" -}}
- name: {{ .name }}
  image: {{ include "zfsilo.sidecarImage" . }}
  imagePullPolicy: {{ .root.Values.images.pullPolicy }}
  args:
    - --v=2
    - --csi-address=/csi/csi.sock
    - --leader-election
    - --leader-election-namespace=$(NAMESPACE)
    - --http-endpoint=:{{ .port }}
    - --kube-api-qps={{ .root.Values.controller.kubeApi.qps }}
    - --kube-api-burst={{ .root.Values.controller.kubeApi.burst }}
    - --retry-interval-max={{ .root.Values.controller.retryIntervalMax }}
    {{- range .args }}
    - {{ . }}
    {{- end }}
  env:
    - name: NAMESPACE
      valueFrom: { fieldRef: { fieldPath: metadata.namespace } }
    - name: POD_NAME
      valueFrom: { fieldRef: { fieldPath: metadata.name } }
  ports:
    - { name: {{ trimPrefix "csi-" .name }}, containerPort: {{ .port }} }
  # Restarts a leader that cannot renew its lease but has not noticed.
  livenessProbe:
    httpGet: { path: /healthz/leader-election, port: {{ trimPrefix "csi-" .name }} }
    initialDelaySeconds: 10
    periodSeconds: 20
    timeoutSeconds: 10
  resources:
    {{- toYaml .root.Values.controller.sidecarResources | nindent 4 }}
  securityContext:
    {{- include "zfsilo.containerSecurity" . | nindent 4 }}
  volumeMounts:
    - { name: socket, mountPath: /csi }
{{- end -}}

{{/*
Answers on /healthz what the driver says of the control plane. The driver's readiness, not its liveness: restarting a driver
does not bring a control plane back.
*/}}
{{- define "zfsilo.livenessSidecar" -}}
- name: liveness-probe
  image: {{ include "zfsilo.sidecarImage" (dict "root" .root "name" "livenessprobe" "image" .root.Values.sidecars.livenessProbe) }}
  imagePullPolicy: {{ .root.Values.images.pullPolicy }}
  args:
    - --v=2
    - --csi-address=/csi/csi.sock
    - --probe-timeout=3s
    - --http-endpoint=:9808
  ports:
    - { name: driver-health, containerPort: 9808 }
  resources:
    {{- toYaml .resources | nindent 4 }}
  securityContext:
    {{- include "zfsilo.containerSecurity" . | nindent 4 }}
  volumeMounts:
    - { name: socket, mountPath: /csi }
{{- end -}}
